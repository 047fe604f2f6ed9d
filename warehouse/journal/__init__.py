"""The journal: what a router worker has promised to record, on its own disk, until the database has it."""

from warehouse.journal.journal import Journal, JournalFailed, JournalFull, Ticket
from warehouse.journal.recovery import DAMAGED, Recovered, recover
from warehouse.journal.slots import Slot, check_slots, claim_orphans, claim_slot

__all__ = [
    "DAMAGED",
    "Journal",
    "JournalFailed",
    "JournalFull",
    "Recovered",
    "Slot",
    "Ticket",
    "check_slots",
    "claim_orphans",
    "claim_slot",
    "recover",
]
