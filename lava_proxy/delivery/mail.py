"""Alerts by e-mail, over SMTP. Blocking: the courier runs on a thread of its own."""

import smtplib
import ssl
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.utils import formatdate

from lava_proxy.core.destinations import Address
from lava_proxy.delivery.answer import Answer, plain
from lava_proxy.delivery.message import Message

TIMEOUT_SECONDS = 20.0


def send_mail(address: Address, message: Message, *, now_us: int) -> Answer:
    """See ``courier.Sender``. One message to all recipients; one that is refused makes it fail, and be tried again."""
    try:
        with _connected(address) as server:
            if address.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if address.user:
                server.login(address.user, address.secret)
            refused = server.send_message(_mail(address, message, now_us=now_us))
    except (OSError, smtplib.SMTPException) as error:
        return Answer(is_ok=False, text=plain(f"{type(error).__name__}: {_said(error)}"))
    if refused:
        return Answer(is_ok=False, text=plain(f"refused: {refused}"))
    return Answer(is_ok=True, text=f"{address.host} took it for {', '.join(address.recipients)}")


def _connected(address: Address) -> smtplib.SMTP:
    if address.tls == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(address.host, address.port, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(address.host, address.port, timeout=TIMEOUT_SECONDS)


def _mail(address: Address, message: Message, *, now_us: int) -> EmailMessage:
    """The message id is the event's, so that a mailbox can tell that it came twice."""
    domain = address.sender.rpartition("@")[2]
    mail = EmailMessage()
    mail["Subject"] = plain(f"Lava: {message.title}")
    mail["From"] = MailAddress(addr_spec=address.sender)
    mail["To"] = [MailAddress(addr_spec=recipient) for recipient in address.recipients]
    mail["Date"] = formatdate(now_us // 1_000_000)
    mail["Message-ID"] = f"<{message.event_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    facts = (
        ("rule", message.rule),
        ("kind", message.kind),
        ("about", message.customer or message.subject),
        ("value", message.value),
        ("threshold", message.threshold),
        ("fired at", message.fired_at),
        *((("resolved at", message.resolved_at),) if message.resolved_at else ()),
    )
    lines = [message.title, "", *(f"{name}: {value}" for name, value in facts), "", f"alert {message.alert_id}"]
    mail.set_content("\n".join(lines))
    return mail


def _said(error: OSError | smtplib.SMTPException) -> str:
    """The server's own words where there are any; never what we sent."""
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error
        return f"{error.smtp_code} {words.decode(errors='replace') if isinstance(words, bytes) else words}"
    return str(error)
