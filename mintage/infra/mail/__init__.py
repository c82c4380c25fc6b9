"""Mail: composed once in the person's language, carried by SMTP or into the outbox, tried again for a while."""

from mintage.infra.mail.carriers import Outbox, SmtpServer
from mintage.infra.mail.delivery import Delivery
from mintage.infra.mail.letters import Composer

__all__ = ["Composer", "Delivery", "Outbox", "SmtpServer"]
