"""What the deliverer needs, from the settings."""

from orchestration.defs.outbox.deliverer import Outlet
from orchestration.defs.outbox.mail import MailServer
from orchestration.settings import OrchestrationSettings
from warehouse.identity.networks import parse_networks


def outlet_of(settings: OrchestrationSettings) -> Outlet | None:
    """None where nothing is to be delivered: the key is not set."""
    if settings.webhook_key is None:
        return None
    networks = parse_networks(part for part in settings.webhook_networks.split(",") if part)
    return Outlet(bytes.fromhex(settings.webhook_key.get_secret_value()), networks, _mail_server(settings))


def _mail_server(settings: OrchestrationSettings) -> MailServer | None:
    if settings.smtp_host is None or settings.smtp_sender is None:
        return None
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return MailServer(
        settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.smtp_sender, settings.smtp_user, password
    )
