"""The door for other boxes: requests over MQTT, carried out by the same handler as those of the control socket.

`request/<verb>` comes in, `response/<verb>` goes out. An order that names a transaction is carried out once, whoever
sends it how often, and whatever becomes of daemon and broker in between.
"""

import asyncio
import hashlib
import json
import logging
import secrets
from collections import ChainMap
from collections.abc import Awaitable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

import aiomqtt

from cnnbo.daemon import messages
from cnnbo.daemon.api import requests
from cnnbo.daemon.api.requests import MQTT_REQUESTS, Request
from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.handler import Handler, bug, refusal, response
from cnnbo.daemon.journal import RECEIPTS_KEPT, Receipt
from cnnbo.daemon.mqtt import BrokerAddress, connected, reason_of, reconnect_for_ever, subscribe
from cnnbo.daemon.mqtt_request import read_fields, read_verb, take_transaction
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.submitted import Peer
from cnnbo.daemon.tasks import end_tasks
from cnnbo.scheduler.errors import CnnboError, RequestError

_log = logging.getLogger(__name__)

PEER: Final = Peer("mqtt", may_run_commands=False)
"""Whoever the broker lets ask: it knows who they are, the daemon doesn't."""

WORKERS: Final = 4
"""So many requests are worked on at once, beside one submit: with much data that takes minutes."""

WAITING_LIMIT: Final = 64
"""So many more wait, and as many submits; what comes beyond that is told so."""

_UNREAD_LIMIT = 1000  # messages that aiomqtt keeps; it drops what comes beyond
_RESPONSE_LIMIT = 100  # beyond, whoever has one more to send waits
_LEAVE_S = 1.0
_LONGEST_VERB = 40

_READINGS = (requests.Ping, requests.Status, requests.Show, requests.Best)
_TOPICS_OF: Final = {"status": "device/+ and study/+", "show": "study/NAME and study/NAME/trial/+"}


@dataclass(frozen=True, slots=True)
class _Letter:
    verb: str
    payload: bytes
    is_retained: bool


@dataclass(slots=True)
class _Order:
    """An order that is, or was, carried out.

    Attributes:
        digest: of its arguments.
        response: None while it is worked on.
        is_of_earlier_life: whether the daemon was restarted since; what it was answered then is forgotten.
        copies: how often it is to be answered once it is done.
    """

    digest: str
    response: dict[str, object] | None = None
    is_of_earlier_life: bool = False
    copies: int = 1


class Orders:
    """Knows which orders were carried out, so that none is carried out twice.

    Args:
        handler: carries them out.
        receipts: of earlier lives of the daemon, oldest first.
        limit: so many that were carried out are known, and as many that were refused; beyond, the oldest is forgotten.
    """

    def __init__(self, handler: Handler, receipts: Iterable[Receipt] = (), limit: int = RECEIPTS_KEPT) -> None:
        self._handler = handler
        self._limit = limit
        self._worked_on: dict[tuple[str, str], _Order] = {}
        self._refused: dict[tuple[str, str], _Order] = {}  # apart, or refusals would push out what was done
        self._carried_out = {
            (receipt.verb, receipt.transaction): _Order(receipt.digest, is_of_earlier_life=True) for receipt in receipts
        }
        self._known = ChainMap(self._worked_on, self._carried_out, self._refused)

    async def carry_out(self, verb: str, transaction: str | int | None, request: Request) -> list[dict[str, object]]:
        """Carry out an order, unless it was, and say what to answer; without a transaction it is a new one each time.

        Returns:
            the response, as often as it was asked for; nothing while the same order is worked on elsewhere, which
            answers this one, too.
        """
        if transaction is None:
            return [await self._answer(None, verb, self._handler.handle(request, PEER))]
        receipt = Receipt(verb, json.dumps(transaction), _digest(request))
        key = receipt.verb, receipt.transaction
        order = self._known.get(key)
        if order is None:
            order = self._worked_on[key] = _Order(receipt.digest)
            answer = order.response = await self._answer(
                transaction, verb, self._handler.handle(request, PEER, receipt)
            )
            self._keep(key, self._carried_out if answer["status"] == "ok" else self._refused)
            return [answer] * order.copies
        if order.digest != receipt.digest:
            sentence = f"transaction {receipt.transaction} was another {verb} before; take a new one for each request."
            return [refusal(transaction, RequestError(sentence))]
        if order.is_of_earlier_life:
            return [await self._answer(transaction, verb, self._outcome(request))]
        if order.response is None:
            order.copies += 1
            return []
        return [order.response]

    async def _answer(self, transaction: str | int | None, verb: str, work: Awaitable[object]) -> dict[str, object]:
        return await response(transaction, verb, _without_trials(work))

    async def _outcome(self, request: Request) -> object:
        return self._handler.outcome(request)

    def _keep(self, key: tuple[str, str], done: dict[tuple[str, str], _Order]) -> None:
        done[key] = self._worked_on.pop(key)
        if len(done) > self._limit:
            del done[next(iter(done))]


def _digest(request: Request) -> str:
    return hashlib.sha256(json.dumps(request.model_dump(), sort_keys=True).encode()).hexdigest()


async def _without_trials(work: Awaitable[object]) -> object:
    """The answer to an order about a study with a thousand trials has to fit, too; each stands in its own topic."""
    data = await work
    return {key: value for key, value in data.items() if key != "trials"} if isinstance(data, dict) else data


class MqttDoor:
    """Takes requests from a broker and answers them there, until cancelled; survives every outage of the broker.

    Args:
        broker: where it is, or its URL, `mqtt[s]://user:password@host[:port]`.
        prefix: `<base>/v1/<node>`.
        boot: identifies this life of the daemon.
        handler: carries the requests out.
        receipts: of orders that earlier lives carried out, oldest first.
        keepalive_s: how soon a dead connection is noticed.
        reply_s: how long any single answer of the broker is waited for.
        retry_s: see `reconnect_for_ever`.

    Raises:
        ConfigurationError: the URL can't be used.
    """

    def __init__(
        self,
        broker: str | BrokerAddress,
        prefix: str,
        *,
        boot: str,
        handler: Handler,
        receipts: Iterable[Receipt] = (),
        keepalive_s: int = 30,
        reply_s: float = 10.0,
        retry_s: tuple[float, float] = (0.5, 30.0),
    ) -> None:
        self._address = BrokerAddress.of(broker)
        self._prefix = prefix
        self._identifier = f"cnnbo-{secrets.token_hex(8)}"  # see `MqttSink`
        self._handler = handler
        self._orders = Orders(handler, receipts)
        self._envelope = Envelope(boot)
        self._keepalive_s = keepalive_s
        self._reply_s = reply_s
        self._retry_s = retry_s
        self._letters: asyncio.Queue[_Letter] = asyncio.Queue(WAITING_LIMIT)
        self._submits: asyncio.Queue[_Letter] = asyncio.Queue(WAITING_LIMIT)
        self._responses: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_RESPONSE_LIMIT)
        self._unsent: tuple[str, bytes] | None = None
        self._is_open: bool | None = None

    async def run(self) -> None:
        """Answer until cancelled. What is worked on goes on while there is no broker, and is answered after that.

        Raises:
            Exception: a bug in the door itself, past which it can't be relied on; open a new one.
        """
        door = reconnect_for_ever(self._session, self._lost, self._retry_s)
        tasks = [
            asyncio.create_task(door, name="mqtt-door"),
            asyncio.create_task(self._work(self._submits), name="submits"),
        ]
        tasks += [asyncio.create_task(self._work(self._letters), name=f"request {n}") for n in range(WORKERS)]
        await _first_end_of(tasks)

    def _lost(self, error: BaseException) -> None:
        if self._is_open is not False:
            self._is_open = False
            _log.warning(
                "no requests are taken over MQTT until there is a connection: %s",
                reason_of(error, self._address, is_of_daemon=True),
            )

    async def _session(self) -> None:
        """One connection, from CONNECT to its end; always ends by an exception."""
        client = self._address.client(
            self._identifier, keepalive_s=self._keepalive_s, reply_s=self._reply_s, queue_limit=_UNREAD_LIMIT
        )
        async with connected(client):
            tasks = [
                asyncio.create_task(self._receive(client), name="mqtt-requests"),
                asyncio.create_task(self._send(client), name="mqtt-responses"),
            ]
            await _first_end_of(tasks)

    async def _receive(self, client: aiomqtt.Client) -> None:
        await subscribe(client, f"{self._prefix}/request/+")
        self._is_open = True
        _log.info("requests are taken on %s/request/+ of %s", self._prefix, self._address)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            verb = message.topic.value.rpartition("/")[2]
            letter = _Letter(verb, message.payload, bool(message.retain))
            lane = self._submits if verb == "submit" else self._letters
            if lane.full():
                await self._refuse(letter)
            else:
                lane.put_nowait(letter)

    async def _refuse(self, letter: _Letter) -> None:
        transaction, _ = _read(letter)
        too_many = RequestError(f"too many requests: {WAITING_LIMIT} are waiting already; ask again in a moment.")
        await self._respond(letter.verb, refusal(transaction, too_many))

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            if self._unsent is None:
                self._unsent = await self._responses.get()
            topic, payload = self._unsent
            await client.publish(topic, payload, qos=1)
            self._unsent = None  # not before: what the broker may not have is sent again over the next connection

    async def _work(self, lane: "asyncio.Queue[_Letter]") -> None:
        while True:
            letter = await lane.get()
            for answer in await self._answers(letter):
                await self._respond(letter.verb, answer)

    async def _answers(self, letter: _Letter) -> list[dict[str, object]]:
        transaction, request = _read(letter)
        if isinstance(request, CnnboError):
            return [refusal(transaction, request)]
        try:
            if isinstance(request, _READINGS):
                return [await response(transaction, letter.verb, self._handler.handle(request, PEER))]
            return await self._orders.carry_out(letter.verb, transaction, request)
        except Exception as error:
            return [refusal(transaction, bug(letter.verb, error))]

    async def _respond(self, verb: str, answer: dict[str, object]) -> None:
        topic = f"response/{verb if len(verb) <= _LONGEST_VERB else 'unknown'}"
        await self._responses.put((f"{self._prefix}/{topic}", self._sealed(verb, answer)))

    def _sealed(self, verb: str, answer: dict[str, object]) -> bytes:
        # One count for all verbs that don't exist: whoever invents them must not fill the memory.
        topic = f"response/{verb if verb in MQTT_REQUESTS else ''}"
        try:
            return self._envelope.seal(Message(topic, _sendable(answer), messages.RESPONSE_SCHEMA, Delivery.EVENT))
        except ValueError:
            topics = _TOPICS_OF.get(verb, "study/NAME")
            sentence = f"the answer is longer than brokers take; read the retained topics {topics} of {self._prefix}."
            refused = refusal(answer["transaction"], RequestError(sentence))
            return self._envelope.seal(Message(topic, refused, messages.RESPONSE_SCHEMA, Delivery.EVENT))


def _read(letter: _Letter) -> tuple[str | int | None, Request | CnnboError]:
    """The transaction of a message as far as it can be read, and the request or what is wrong with it."""
    transaction = None
    try:
        fields = read_fields(letter.payload)
        transaction = take_transaction(fields)
        if letter.is_retained:
            raise RequestError(
                f"a retained {letter.verb} would be carried out again at every reconnection, so none is taken; send it "
                f"without retain, and clear this one: mosquitto_pub -r -n -t …/request/{letter.verb}"
            )
        return transaction, read_verb(letter.verb, fields)
    except CnnboError as error:
        return transaction, error
    except Exception as error:
        return transaction, bug(letter.verb, error)


async def _first_end_of(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Run tasks that have no end until one of them fails, and raise what it raised.

    No TaskGroup, which cancels its tasks but once: aiomqtt's waits may drop a cancellation, see `end_tasks`.
    """
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # raises
    finally:
        await end_tasks(tasks, _LEAVE_S)
        await asyncio.gather(*tasks, return_exceptions=True)  # several may have failed; the first one tells enough


def _sendable(answer: dict[str, object]) -> dict[str, object]:
    """An answer whose sentence can be encoded, though it may quote half a surrogate pair of the request."""
    return {**answer, "error": answer["error"] and str(answer["error"]).encode(errors="backslashreplace").decode()}
