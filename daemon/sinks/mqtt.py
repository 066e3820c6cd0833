"""Tells an MQTT broker, whatever state the broker is in.

The journal on disk is the truth and MQTT is the news. Retained topics are published anew at every connection, and those
that the broker kept of what is no more are cleared; progress is thinned out; events wait on disk until the broker has
acknowledged them.
"""

import asyncio
import contextlib
import json
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiomqtt

from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.mqtt import BrokerAddress, Failure, connected, leaf_of, reason_of, reconnect_for_ever
from cnnbo.daemon.sinks.base import Delivery, EventStore, Message, StoredEvent, UnreadableEventsError
from cnnbo.daemon.tasks import end_tasks
from cnnbo.scheduler.errors import ConfigurationError

_log = logging.getLogger(__name__)
_LEAVE_S = 1.0  # for the tasks of a connection that may be dead, and for "offline"
_FAREWELL_S = 2.0  # for the last news when the daemon stops
_BATCH = 16  # publishes under way at once; paho's own limit is 20
_PROGRESS_LIMIT = 1000
# Messages that came and were not looked at: at each connection all that the broker retains comes in one flood. What
# doesn't fit is lost, and an orphan among it is found at the next connection.
_INCOMING_LIMIT = 20_000
_RETAINED_TOPICS = ("study/+", "study/+/trial/+", "device/+")  # that come and go


@dataclass(frozen=True, slots=True)
class _Packet:
    """One publish; `seq` is the number of an event."""

    topic: str
    payload: bytes
    delivery: Delivery
    seq: int = 0

    @property
    def qos(self) -> int:
        return 0 if self.delivery is Delivery.PROGRESS else 1

    @property
    def is_retained(self) -> bool:
        return self.delivery is Delivery.STATE


class SendQueue:
    """What is to be sent next, bounded whatever happens; no I/O and no clock.

    State coalesces: of each topic only the newest payload is kept, for as long as the topic exists, so there are as
    many as there are devices, studies that aren't archived, and trials of those. Progress coalesces too and is handed
    out once an interval. Of the events on disk it holds the few that are sent next.
    """

    def __init__(self, progress_interval_s: float = 1.0) -> None:
        self._interval_s = progress_interval_s
        self._retained: dict[str, bytes] = {}  # b"" until a cleared topic is known to be cleared at the broker too
        self._unsent: dict[str, None] = {}  # topics of _retained, oldest change first; a dict is an ordered set
        self._events: deque[_Packet] = deque()
        self._progress: dict[str, bytes] = {}
        self._progress_sent: dict[str, float] = {}  # when; forgotten after an interval

    def put_state(self, topic: str, payload: bytes) -> None:
        """Take the newest state of a topic; b"" clears it."""
        self._retained[topic] = payload
        self._unsent[topic] = None

    def put_progress(self, topic: str, payload: bytes) -> None:
        """Take the newest progress of a topic."""
        self._progress[topic] = payload
        while len(self._progress) > _PROGRESS_LIMIT:
            del self._progress[next(iter(self._progress))]

    def put_events(self, prefix: str, events: Iterable[StoredEvent]) -> None:
        """Take the next events from the disk; their topics are below the prefix."""
        self._events.extend(_Packet(f"{prefix}/{e.topic}", e.payload, Delivery.EVENT, e.seq) for e in events)

    @property
    def wants_events(self) -> bool:
        """Whether the next events should be read from the disk."""
        return not self._events

    def minds(self, topic: str) -> bool:
        """Whether a retained topic should stand, or is to be cleared and the broker's answer is still out."""
        return topic in self._retained

    def renew(self) -> None:
        """Begin with a broker that may have forgotten everything: every retained topic is due again.

        Old progress is dropped; so are events, for those that were not acknowledged are on disk.
        """
        self._progress.clear()
        self._events.clear()
        self.renew_state()

    def renew_state(self) -> None:
        """Every retained topic is due again."""
        self._unsent = dict.fromkeys(self._retained)

    def renew_topic(self, topic: str) -> None:
        """A retained topic is due again, if there is one."""
        if topic in self._retained:
            self._unsent[topic] = None

    def take(self, now: float) -> list[_Packet]:
        """Up to a batch of what is due at `now` (monotonic seconds): state first, then events, then progress."""
        batch = [_Packet(t, self._retained[t], Delivery.STATE) for t in list(self._unsent)[:_BATCH]]
        for packet in batch:
            del self._unsent[packet.topic]
        while self._events and len(batch) < _BATCH:
            batch.append(self._events.popleft())
        for topic in self._due_progress(now)[: _BATCH - len(batch)]:
            batch.append(_Packet(topic, self._progress.pop(topic), Delivery.PROGRESS))
            self._progress_sent[topic] = now
        return batch

    def _due_progress(self, now: float) -> list[str]:
        self._progress_sent = {t: at for t, at in self._progress_sent.items() if now - at < self._interval_s}
        return [topic for topic in self._progress if topic not in self._progress_sent]

    def wait_s(self, now: float) -> float | None:
        """Seconds until `take` has something again if nothing is put: 0 = now; None = never."""
        if self._unsent or self._events:
            return 0.0
        waits = [self._progress_sent.get(topic, -math.inf) + self._interval_s - now for topic in self._progress]
        return max(0.0, min(waits)) if waits else None

    def sent(self, packets: Iterable[_Packet]) -> None:
        """The broker has them: a cleared topic can be forgotten."""
        for packet in packets:
            # Not while it is due again: somebody may have cleared it once more meanwhile.
            if not packet.payload and self._retained.get(packet.topic) == b"" and packet.topic not in self._unsent:
                del self._retained[packet.topic]


class MqttSink:
    """Publishes below `<base>/v1/<node>/`, and keeps `availability` there at `online` or `offline`.

    Every JSON object begins with `schema`, `ts` (when it was published here), `boot` and `seq`, which rises per topic;
    a copy sent again after a reconnect carries the same ones. `publish` is for the event loop's thread.

    The topics of studies, trials and devices are this sink's alone: what the broker retains there at a connection and
    was not published here is cleared. It may be of a study that was deleted just before a former life was killed.
    So a node belongs to one daemon: while another one seems to publish as this node, nothing is cleared but what this
    sink published, and `on_state` is told what to do.

    Args:
        broker: `mqtt[s]://[user:password@]host[:port]`, or the address itself.
        node: this box's name in the topics; no slash, `+` or `#`.
        boot: identifies this life of the daemon.
        envelope: numbers the messages; that of the sink before this one, where there was one in this life.
        events: where events wait; those published here only say that there are new ones.
        base: first level or levels of every topic.
        on_state: told (True, None) at each connection and (False, why) when it is lost or can't be had, once a change;
            (True, why) while another daemon publishes as this node.
        keepalive_s: the broker declares us dead after 1.5 times this; also how soon we notice that it is.
        progress_interval_s: the least time between two messages on one progress topic.
        reply_s: how long any single answer of the broker is waited for.
        retry_s: see `reconnect_for_ever`; events that couldn't be read are read again after the longest wait.
        doubt_s: another daemon of this node, which the broker called online before us, is gone if it is silent for so
            long: it answers us if it is connected, and else its will comes within 1.5 times its keep-alive.

    Raises:
        ConfigurationError: the URL, node or base can't be used.
    """

    def __init__(
        self,
        broker: str | BrokerAddress,
        node: str,
        *,
        boot: str,
        events: EventStore,
        envelope: Envelope | None = None,
        base: str = "cnnbo",
        on_state: Callable[[bool, str | None], None] | None = None,
        keepalive_s: int = 30,
        progress_interval_s: float = 1.0,
        reply_s: float = 10.0,
        retry_s: tuple[float, float] = (0.5, 30.0),
        doubt_s: float = 60.0,
    ) -> None:
        self._address = BrokerAddress.of(broker)
        self._prefix = _topic_prefix(base, node)
        # One id for life: at a reconnect the broker ends our half-dead former connection instead of keeping it until
        # its keep-alive runs out, when its will would call us offline. And one that nobody knows: whoever connects with
        # it, a mere reader too, ends our connection.
        self._identifier = f"cnnbo-{secrets.token_hex(8)}"
        self._node = node
        self._boot = boot
        self._envelope = Envelope(boot) if envelope is None else envelope
        self._events = events
        self._events_due_at = 0.0  # when they are to be read, monotonic seconds; never = inf
        self._on_state = on_state or (lambda is_connected, reason: None)
        self._keepalive_s = keepalive_s
        self._reply_s = reply_s
        self._retry_s = retry_s
        self._doubt_s = doubt_s
        self._doubt: asyncio.TimerHandle | None = None  # whether the other daemon lives; None = there is no doubt
        self._other: str | None = None  # the boot of a daemon that publishes as this node, too
        self._is_alone = asyncio.Event()  # set when orphans can be looked for
        self._queue = SendQueue(progress_interval_s)
        self._wake = asyncio.Event()
        self._is_connected: bool | None = None  # None before the first attempt
        self._is_leaving = False
        self._bug = ""  # the last one that was logged: the same one may come at every connection

    @property
    def availability_topic(self) -> str:
        """Where `online` or `offline` stands."""
        return f"{self._prefix}/availability"

    @property
    def _info_topic(self) -> str:
        return f"{self._prefix}/info"

    def publish(self, message: Message) -> None:
        """Take a message for delivery; returns at once and never raises. What can't be sent is logged and dropped."""
        if message.delivery is Delivery.PROGRESS and not self._is_connected:
            return  # by the time there is a broker it is old
        if message.delivery is Delivery.EVENT:
            self._events_due_at = 0.0
            self._wake.set()
            return
        try:
            payload = self._envelope.seal(message)
        except (TypeError, ValueError) as error:
            # As ASCII: a topic that can't be encoded must not trip whoever writes the log.
            _log.error("message for %s dropped: %s", ascii(message.topic), error)
            return
        put = self._queue.put_state if message.delivery is Delivery.STATE else self._queue.put_progress
        put(f"{self._prefix}/{message.topic}", payload)
        self._wake.set()

    async def run(self) -> None:
        """Connect and deliver until cancelled, then say `offline`; reconnects for ever."""
        await reconnect_for_ever(self._session, self._lost, self._retry_s, outlived=(Exception,))

    def _lost(self, group: BaseExceptionGroup) -> None:
        _, bug = group.split(Failure)
        if bug is None:
            self._tell(False, reason_of(group, self._address, is_of_daemon=True))
            return
        # News is not worth a daemon with its trials: we begin anew with what is kept, as after an outage.
        error = leaf_of(bug)
        if repr(error) != self._bug:
            self._bug = repr(error)
            _log.error("a bug in cnnbo ended the connection to %s", self._address, exc_info=bug)
        self._tell(False, f"a bug in cnnbo ({self._bug}); the log has its traceback, please report it")

    def _tell(self, is_connected: bool, reason: str | None) -> None:
        if is_connected is self._is_connected:
            return
        self._is_connected = is_connected
        if is_connected:
            _log.info("connected to %s", self._address)
        else:
            _log.warning("no broker, going on without: %s", reason)
        self._on_state(is_connected, reason)

    async def _session(self) -> None:
        """One connection, from CONNECT to its end; always ends by an exception."""
        self._is_alone.clear()
        async with connected(self._new_client()) as client:
            # No TaskGroup, which cancels its tasks but once: aiomqtt's waits may drop a cancellation, see `end_tasks`.
            watch = asyncio.create_task(self._watch(client), name="mqtt-watch")
            delivery = asyncio.create_task(self._deliver(client), name="mqtt-delivery")
            tasks = (watch, delivery, asyncio.create_task(self._find_orphans(client), name="mqtt-orphans"))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises
            except asyncio.CancelledError:
                await end_tasks([watch], _LEAVE_S)  # it would contradict what is said now
                await self._farewell(client, delivery)
                raise
            finally:
                if self._doubt is not None:
                    self._doubt.cancel()  # without a connection nobody can be heard: it begins anew with the next one
                await end_tasks(tasks, _LEAVE_S)
                await asyncio.gather(*tasks, return_exceptions=True)  # both may have failed; the first one tells enough

    def _new_client(self) -> aiomqtt.Client:
        will = aiomqtt.Will(self.availability_topic, b"offline", qos=1, retain=True)
        return self._address.client(
            self._identifier,
            will=will,
            keepalive_s=self._keepalive_s,
            reply_s=self._reply_s,
            queue_limit=_INCOMING_LIMIT,
        )

    async def _say(self, client: aiomqtt.Client, availability: bytes) -> None:
        await client.publish(self.availability_topic, availability, qos=1, retain=True)

    async def _watch(self, client: aiomqtt.Client) -> None:
        """Contradict a late `offline`, notice other daemons of this node, and clear topics that nobody keeps.

        Also notices a lost connection, which nothing else in aiomqtt does at once: it has to listen from the start.
        """
        was_online, former = False, None  # what was retained before we came, of another boot
        is_settled = False
        async for message in client.messages:
            topic, payload = message.topic.value, message.payload
            if topic == self._info_topic:
                boot = _boot_of(payload)
                if boot is None or boot == self._boot:
                    continue
                if message.retain:
                    former = boot
                else:
                    was_online = True
                    self._another_lives(boot)
            elif topic == self.availability_topic and message.retain:
                was_online = payload == b"online"
            elif topic == self.availability_topic and payload != b"online":
                was_online = False
                self._no_other_lives()
                await self._say(client, b"online")
            elif topic == self.availability_topic and not is_settled:
                is_settled = True  # this is our own `online`, and all that was retained came before it
                if was_online and (self._doubt is not None or former not in (None, self._other)):
                    self._another_may_live(former or self._other)
                elif not was_online or self._other is None:
                    self._no_other_lives()
            elif message.retain and payload and self._other is None and not self._queue.minds(topic):
                _log.info("%s was retained by the broker and is no more; cleared", ascii(topic))
                self._queue.put_state(topic, b"")
                self._wake.set()

    def _another_may_live(self, boot: str | None) -> None:
        self._end_doubt()
        self._doubt = asyncio.get_running_loop().call_later(self._doubt_s, self._no_other_lives)
        self._note_other(boot)

    def _another_lives(self, boot: str) -> None:
        if self._end_doubt() or boot != self._other:
            # So that it knows of us. Once, or the two would go on for ever.
            self._queue.renew_topic(self._info_topic)
            self._wake.set()
        self._note_other(boot)

    def _no_other_lives(self) -> None:
        self._end_doubt()
        if self._other is not None:
            self._queue.renew_state()  # the other one's stands in some of our topics
            self._wake.set()
        self._note_other(None)
        self._is_alone.set()

    def _end_doubt(self) -> bool:
        doubt, self._doubt = self._doubt, None
        if doubt is not None:
            doubt.cancel()
        return doubt is not None

    def _note_other(self, boot: str | None) -> None:
        if boot == self._other:
            return
        self._other = boot
        if boot is not None:
            _log.warning("%s", self._remark())
        self._on_state(True, self._remark())

    def _remark(self) -> str | None:
        if self._other is None:
            return None
        return (
            f'another daemon publishes as "{self._node}", too, or was killed a minute ago; give each daemon a name of '
            "its own: node in the settings, or --node"
        )

    async def _find_orphans(self, client: aiomqtt.Client) -> None:
        """Have the broker hand out all it retains of what comes and goes, whenever no other daemon may own it."""
        while True:
            await self._is_alone.wait()
            self._is_alone.clear()
            # A second time within a connection rumqttd hands nothing out: there orphans stay until the next one.
            await client.subscribe([(f"{self._prefix}/{topic}", 0) for topic in _RETAINED_TOPICS])

    async def _deliver(self, client: aiomqtt.Client) -> None:
        # First, to see what is retained there before we change it.
        await client.subscribe([(self.availability_topic, 1), (self._info_topic, 1)])
        await self._say(client, b"online")
        self._queue.renew()
        self._events_due_at = 0.0
        self._tell(True, self._remark())
        while True:
            self._wake.clear()
            if batch := await self._next_batch():
                await self._send(client, batch)
                continue
            if self._is_leaving:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s(time.monotonic())):
                    await self._wake.wait()

    def _wait_s(self, now: float) -> float:
        wait_s = self._queue.wait_s(now)
        return min(math.inf if wait_s is None else wait_s, self._events_due_at - now)

    async def _next_batch(self) -> list[_Packet]:
        if self._events_due_at <= time.monotonic() and self._queue.wants_events:
            self._events_due_at = math.inf  # before the reading: an event that comes meanwhile makes them due again
            try:
                if events := await self._events.waiting_events(_BATCH):
                    self._queue.put_events(self._prefix, events)
                    self._events_due_at = 0.0
            except UnreadableEventsError as error:
                _log.error("%s", error)
                self._events_due_at = min(self._events_due_at, time.monotonic() + self._retry_s[1])
        return self._queue.take(time.monotonic())

    async def _send(self, client: aiomqtt.Client, batch: list[_Packet]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for packet in batch:
                tasks.create_task(client.publish(packet.topic, packet.payload, packet.qos, packet.is_retained))
        self._queue.sent(batch)
        self._events.acknowledge_events(max(packet.seq for packet in batch))

    async def _farewell(self, client: aiomqtt.Client, delivery: asyncio.Task[None]) -> None:
        """Have what is due sent to its end, and say `offline`: DISCONNECT suppresses the will."""
        self._is_leaving = True
        self._wake.set()
        await asyncio.wait([delivery], timeout=_FAREWELL_S)
        await end_tasks([delivery], _LEAVE_S)
        with contextlib.suppress(*Failure):
            async with asyncio.timeout(_LEAVE_S):
                await self._say(client, b"offline")


def _boot_of(payload: object) -> str | None:
    """The life of a daemon that an `info` is of; None where it doesn't say."""
    try:
        body = json.loads(payload) if isinstance(payload, bytes) else None
    except ValueError:
        return None
    boot = body.get("boot") if isinstance(body, dict) else None
    return boot if isinstance(boot, str) else None


def _topic_prefix(base: str, node: str) -> str:
    for name, value, forbidden in (("base topic", base, "+#\0"), ("node", node, "+#/\0")):
        if not value or value.startswith("/") or value.endswith("/") or any(c in value for c in forbidden):
            raise ConfigurationError(
                f'mqtt: {name} "{value}" can\'t stand in a topic; use letters, digits, "-" and "_", like "cnnbo".'
            )
    return f"{base}/v1/{node}"
