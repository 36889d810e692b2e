"""What goes wrong between a Hub and its users, drawn from a seed."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field

# What only interrupts: what has arrived is right.
INTERRUPTIONS = ("cut", "stall", "429", "5xx")
DAMAGES = ("flip", "short", "long")


@dataclass
class Fault:
    """An answer that is spoiled.

    Attributes:
        body: What is sent instead of the content.
        headers: Wrong headers of the answer.
        stall: Waits afterwards with the connection open; None to close it.
    """

    body: bytes
    headers: dict = field(default_factory=dict)
    stall: object = None


class Faults:
    """Draws faults for each file from a seed of its own: threads change nothing about it.

    Args:
        seed: Any number.
        kinds: Which faults there are, of `INTERRUPTIONS` and `DAMAGES`.
        share: Share of answers that are spoiled.
        most: Faults of one file after which all goes well.
        silence: Seconds that a stalled connection stays open.
    """

    def __init__(self, seed, kinds, share=0.6, most=4, silence=2.0):
        self.seed, self.kinds, self.share, self.most = seed, kinds, share, most
        self.happened = Counter()
        self._silence = silence
        self._over = threading.Event()
        self._draws, self._counts = {}, Counter()
        self._lock = threading.Lock()

    def end(self):
        """Let go of stalled connections."""
        self._over.set()

    def refuse(self, method, path):
        """Status and headers of a refusal for now, or None."""
        if method != "GET":
            return None
        with self._lock:
            kind, draw = self._draw(f"ask {path}", ("429", "5xx"))
        if kind == "429":
            return 429, {"Retry-After": draw.choice(["0", "1", "7"])}
        return (draw.choice([500, 502, 503, 504]), {}) if kind else None

    def spoil(self, name, body):
        """How the content of an answer is spoiled, or None."""
        # Waiting for a silent server takes time that other faults do not.
        kinds = ["cut", "cut", "cut", "stall", *DAMAGES] if len(body) > 1 else []
        with self._lock:
            kind, draw = self._draw(f"send {name}", kinds)
        if kind is None:
            return None
        at = draw.randrange(1, len(body))
        if kind == "flip":
            return Fault(
                body[: at - 1] + bytes([body[at - 1] ^ 1 << draw.randrange(8)]) + body[at:]
            )
        if kind == "short":
            # As though that were all.
            return Fault(body[:at], {"Content-Length": str(at)})
        if kind == "long":
            return Fault(body[:at], {"Content-Length": str(len(body) + at)})
        return Fault(body[:at], {}, self._stall if kind == "stall" else None)

    def _draw(self, key, possible):
        draw = self._draws.setdefault(key, random.Random(f"{self.seed} {key}"))
        possible = [kind for kind in possible if kind in self.kinds]
        # The draw is taken in any case, so that a limit changes nothing about the others.
        lucky = draw.random() >= self.share
        if lucky or not possible or self._counts[key] >= self.most:
            return None, draw
        self._counts[key] += 1
        kind = draw.choice(possible)
        self.happened[kind] += 1
        return kind, draw

    def _stall(self):
        self._over.wait(self._silence)
