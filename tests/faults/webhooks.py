"""Receivers of webhooks that are down, hang, fail and lie, while the server is restarted."""

from __future__ import annotations

import datetime as dt
import ipaddress
import random
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nightrate.limits import MIB
from tests.acceptance.server import Server, request_line, until
from tests.faults.campaign import Campaign, Figures
from tests.faults.footprint import Footprint
from tests.faults.patched import command
from tests.faults.receiver import Receiver

TROUBLES = ("down", "hang", "fail", "redirect", "certificate", "reset", "drip", "endless", "slowly")
GROWTH_BYTES_MAX = 64 * MIB
WAIT_SECONDS = 60.0
JUMPS_SECONDS = (6.0, 40.0, 150.0, 700.0, 2_000.0, 4_000.0)
"""Each a little longer than the wait before the next attempt: an hour and more of trouble."""


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for this machine, signed by itself, and its key; gives their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=36_500))
        .add_extension(place, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


class Post:
    """A server whose clock can be put forward, and who trusts one certificate."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.good, self.wrong = certificate(folder, "good"), certificate(folder, "wrong")
        self._clock = folder / "clock"
        self._ahead_seconds = 0.0
        self.forward(0)
        self.server = Server(
            *(folder / "data", "--engine", "echo"),
            environment={"SSL_CERT_FILE": str(self.good[0])},
            command=command(f"clock={self._clock}", "WEBHOOK_TIMEOUT_SECONDS=1"),
        )

    def forward(self, seconds: float) -> None:
        """Let so much time pass for everybody who looks at the clock."""
        self._ahead_seconds += seconds
        beside = self._clock.with_suffix(".new")
        beside.write_text(f"{self._ahead_seconds}")
        beside.replace(self._clock)

    def register(self, uri: str) -> str:
        """Register a webhook; gives its path."""
        wish = {"uri": uri, "subscribed_events": ["batch.succeeded"]}
        answer = self.server.ask("POST", "/v1/webhooks", msgspec.json.encode(wish))
        assert answer.status == 200, answer.body
        return f"/v1/webhooks/{answer.json['id']}"

    def delivery(self, webhook: str) -> Any:
        """Give the one delivery of a webhook; None while there is none."""
        found = self.server.get(f"{webhook}/deliveries").get("deliveries", [])
        assert len(found) <= 1, found
        return found[0] if found else None

    def attempted(self, webhook: str, attempts: int) -> Any:
        """Wait until a delivery was tried so often; gives it."""

        def tried() -> Any:
            delivery = self.delivery(webhook)
            return delivery if delivery and delivery["attempts"] >= attempts else None

        return until(tried, WAIT_SECONDS)


def _try(post: Post, trouble: str, rounds: int) -> list[str]:
    """Trouble a delivery for so many rounds, then let it succeed."""
    server = post.server
    receiver = Receiver(post.folder, post.good if trouble == "certificate" else None)
    try:
        if trouble == "certificate":
            receiver.behave("well", post.wrong)
        elif trouble != "down":
            receiver.behave(trouble)
        webhook = post.register(receiver.url)
        name = server.submit(request_line("a", "hello"))
        attempts = 0
        if trouble not in {"slowly", "endless"}:
            for attempts in range(1, rounds + 1):
                post.attempted(webhook, attempts)
                if post.chance.random() < 0.5:
                    server.kill()
                    server.restart()
                post.forward(JUMPS_SECONDS[attempts - 1])
            delivery = post.attempted(webhook, rounds + 1)
            if delivery["state"] != "pending":
                return [f"after {rounds} rounds the delivery is {delivery}"]
            receiver.behave("well")
            server.kill()
            server.restart()
            post.forward(JUMPS_SECONDS[rounds] * 10)
        until(lambda: (post.delivery(webhook) or {}).get("state") == "delivered", WAIT_SECONDS)
        return _judge(post, receiver, webhook, name)
    finally:
        receiver.end()


def _judge(post: Post, receiver: Receiver, webhook: str, name: str) -> list[str]:
    heard, delivery = receiver.heard(), post.delivery(webhook)
    broken = []
    if {one.message_id for one in heard} != {delivery["id"]}:
        broken.append(f"other ids than {delivery['id']} were heard: {heard}")
    if {one.batch for one in heard} != {name} or {one.path for one in heard} != {"/hook"}:
        broken.append(f"something else than {name} at /hook was heard: {heard}")
    if sum(one.manner in {"well", "slowly", "endless"} for one in heard) != 1:
        broken.append(f"it was not taken once: {heard}")
    post.forward(86_400)
    second = post.server.submit(request_line("b", "again"))
    until(lambda: any(one.batch == second for one in receiver.heard()), WAIT_SECONDS)
    if sum(one.batch == name for one in receiver.heard()) != len(heard):
        broken.append("what was taken is told again")
    post.server.ask("DELETE", webhook)
    return broken


def webhook_troubles(points: int | None, seed: int) -> Figures:
    """Try every trouble, or so many of them, for one to five rounds of attempts each."""
    figures = Figures.none()
    with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
        post = Post(Path(folder), seed)
        server = post.server
        try:
            server.start()
            with Footprint(server) as calm:
                until(lambda: calm.peak_bytes, 30)
            with Footprint(server) as footprint:
                for number in range(points or 4 * len(TROUBLES)):
                    trouble = TROUBLES[number % len(TROUBLES)]
                    rounds = post.chance.randint(1, 1 + min(4, (points or 36) // 9))
                    try:
                        broken = _try(post, trouble, rounds)
                    except AssertionError as error:
                        broken = [repr(error)[:300]]
                    figures.violations += [
                        f"{trouble}, {rounds} rounds, seed {seed}: {one}" for one in broken
                    ]
                    figures.tried += 1
            grown = footprint.peak_bytes - calm.peak_bytes
            if grown > GROWTH_BYTES_MAX:
                figures.violations.append(f"memory grew by {grown / MIB:.0f} MiB")
            figures.notes["memory before and at most"] = f"{calm.peak}, {footprint.peak}"
        finally:
            server.close()
    return figures


CAMPAIGNS = (
    Campaign(
        name="webhook-troubles",
        what="receivers that are down, hang, fail, redirect, lie or never stop, across restarts",
        run=webhook_troubles,
        points=36,
    ),
)
