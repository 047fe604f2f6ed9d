"""Mail by SMTP: plain text, all that is due in one connection."""

import smtplib
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any, Literal

from warehouse.access.outbox import Due, Tried

ANSWER_S_MAX = 10.0  # the server's to one command
MAILS_S_MAX = 25.0  # all that is due; the rest is sent at a later tick
VALUE_CHARACTERS_MAX = 200
Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail goes out. `sender`: an address, with a name or without."""

    host: str
    port: int
    security: Security
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def message_of(due: Due, sender: str) -> EmailMessage:
    """The mail of a delivery. Its Message-ID stays from try to try, so that a mailbox shows it once."""
    message = EmailMessage()
    subject, text = _words(due)
    message["From"], message["To"] = sender, due.email
    message["Subject"] = " ".join(subject.split())[:VALUE_CHARACTERS_MAX]
    message["Date"] = due.event_at
    message["Message-ID"] = f"<{due.public_id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{text}\n\nEvent {due.event} of {due.event_at:%Y-%m-%d %H:%M:%S} UTC.\n")
    return message


def _words(due: Due) -> tuple[str, str]:
    """(subject, text); an event of a type that is not known here is shown as its fields."""
    data = due.data
    if due.event_type in {"budget.threshold_reached", "budget.exhausted"}:
        what = "is used up" if due.event_type == "budget.exhausted" else f"has reached {data['percent']} %"
        subject = f"{due.organization}: budget {data['budget_id']} {what}"
        spent = f"{data['spent_usd']} of {data['limit_usd']} USD were spent"
        window = f"in the period ({data['period']}) that began {data['window_start']}"
        return subject, f"The budget {data['budget_id']} of {due.organization} {what}: {spent} {window}."
    if due.event_type == "invoice.blocked":
        subject = f"{due.organization}: the invoice of {data['month']} is held back"
        return subject, f"The gate holds {data['invoice_id']} of {due.organization} back: {data['words']}."
    if due.event_type in {"invoice.finalized", "invoice.voided"}:
        what = "is final" if due.event_type == "invoice.finalized" else "is void"
        subject = f"{due.organization}: {data['kind'].replace('_', ' ')} {data['number']} {what}"
        return subject, f"{data['number']} of {data['month']} {what}: {data['total_usd']} USD, {data['due_usd']} USD due."
    fields = "\n".join(_lines(data))
    return f"{due.organization}: {due.event_type}", f"{due.event_type} in {due.organization}:\n\n{fields}"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        yield f"{name}: {str(value)[:VALUE_CHARACTERS_MAX]}"


def send(server: MailServer, messages: Sequence[EmailMessage]) -> list[Tried]:
    """What came of each message, in order. Never raises for what the server does."""
    results: list[Tried] = []
    if not messages:
        return results
    until = time.monotonic() + MAILS_S_MAX
    try:
        with _connection(server) as smtp:
            for message in messages:
                if time.monotonic() > until:
                    break
                results.append(_send_one(smtp, message))
    except (OSError, smtplib.SMTPException) as error:
        missing = len(messages) - len(results)
        return results + [Tried(f"the mail server failed: {_reason(error)}")] * missing
    return results + [Tried("the mail server was too slow")] * (len(messages) - len(results))


def _connection(server: MailServer) -> smtplib.SMTP:
    tls = ssl.create_default_context()
    smtp: smtplib.SMTP
    if server.security == "tls":
        smtp = smtplib.SMTP_SSL(server.host, server.port, timeout=ANSWER_S_MAX, context=tls)
    else:
        smtp = smtplib.SMTP(server.host, server.port, timeout=ANSWER_S_MAX)
    try:
        if server.security == "starttls":
            smtp.starttls(context=tls)
        if server.user is not None:
            smtp.login(server.user, server.password or "")
    except BaseException:
        smtp.close()
        raise
    return smtp


def _send_one(smtp: smtplib.SMTP, message: EmailMessage) -> Tried:
    """Raises: smtplib.SMTPServerDisconnected, OSError: the connection is of no more use."""
    try:
        smtp.send_message(message)
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPRecipientsRefused as error:
        code = max(answer[0] for answer in error.recipients.values())
        return Tried(f"the mail server refused the address: {code}", final=code >= 500)
    except smtplib.SMTPException as error:
        return Tried(f"the mail server failed: {_reason(error)}")
    return Tried()


def _reason(error: Exception) -> str:
    """The server's own words are left out: they may repeat what it was sent."""
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
