"""The rows of docs/brokers.md: which check is played, and what is expected of either broker."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.brokers import checks
from tests.brokers.subjects import Subject


@dataclass(frozen=True, slots=True)
class Row:
    """A behaviour.

    Attributes:
        title: what the table calls it.
        check: plays it through with a broker that is up, and is up again afterwards.
        mosquitto: what is expected there, a regular expression.
        embedded: the same of the embedded broker.
        is_slow: whether it takes seconds by its nature, so that only the table's script plays it.
    """

    title: str
    check: Callable[[Subject], Awaitable[str]]
    mosquitto: str
    embedded: str
    is_slow: bool = False

    def is_as_expected(self, subject: Subject, seen: str) -> bool:
        return re.fullmatch(self.mosquitto if subject.name == "mosquitto" else self.embedded, seen) is not None


ROWS = (
    Row("retained messages are set, replaced and cleared", checks.retained, "ok", "ok"),
    Row("last will of a client that is killed", checks.will_of_a_killed_client, "ok", "ok"),
    Row(
        "last will of a client that freezes, keep-alive 5 s",
        checks.will_of_a_frozen_client,
        r"after ([5-9]|1\d)\.\d s",
        r"after ([5-9]|1\d)\.\d s",
        is_slow=True,
    ),
    Row("QoS 1 is queued for a session that is away", checks.queue_for_a_session_that_is_away, "5 of 5", "5 of 5"),
    Row("a client gets only what it subscribed to", checks.nothing_unasked, "ok", "ok"),
    Row("MQTT 5 with properties", checks.mqtt_5, "ok, and reaches MQTT 3.1.1 clients", "not let in"),
    Row(
        "retained with an expiry of 2 s",
        checks.retained_that_expires,
        r"gone after \d\.\d s",
        "takes MQTT 5",
        is_slow=True,
    ),
    Row("a retained message, set just before SIGTERM, after a new start", checks.retained_over_sigterm, "kept", "lost"),
    Row("a retained message, set just before SIGKILL, after a new start", checks.retained_over_sigkill, "lost", "lost"),
    Row("a shared subscription of two, four messages", checks.shared_subscriptions, r"2 \+ 2", r"2 \+ 2"),
    Row(
        "a second client with the same id",
        checks.takeover_of_a_client_id,
        "the former client is hung up on",
        "the former client is hung up on",
    ),
    Row(
        "users, TLS, rights by topic",
        checks.users_tls_and_rights,
        "strangers refused, TLS, rights",
        "anybody let in, no TLS, no rights",
    ),
    Row(
        "payloads",
        checks.large_payloads,
        "256 KiB ok; 1 MB refused, the sender is hung up on",
        "256 KiB ok; 1 MB ok",
    ),
    Row("QoS 2 arrives exactly once", checks.qos_2, "ok", "ok"),
    Row(
        "a subscriber that never reads, 16 MiB published",
        checks.a_subscriber_that_never_reads,
        r"others are served; \+ \d+ MiB for 16 MiB",
        r"others are served; \+ \d+ MiB for 16 MiB",
    ),
)
