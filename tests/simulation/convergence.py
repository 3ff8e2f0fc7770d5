"""How long a network takes until everybody knows everything, against the number of its nodes: run
by hand.

    python -m tests.simulation.convergence docs/routing-convergence.svg [sizes]

Virtual time: wires take 1 to 20 ms. Three numbers for each size, each until nobody's table changes
any more: from the moment when all links come up at once, addresses and all; when one node has a new
prefix, which everybody hears of; and when it has lost it. Several seeds each; the plot shows the
medians.
"""

import logging
import statistics
import sys
from pathlib import Path

from tests.simulation.network import USER, Network
from tests.simulation.world import World

_SIZES = (10, 100, 1_000)
_SEEDS = {10: 9, 100: 9, 1_000: 1}
_QUIET_MS = 3_000
_STEP_MS = 10


def changed_at(network: Network) -> int:
    """Let time pass until no table has changed for a while; when the last one did."""
    last, seen, began = network.now(), state(network), network.now()
    while network.now() - last < _QUIET_MS:
        network.run(_STEP_MS)
        now = state(network)
        if now != seen:
            last, seen = network.now(), now
    return last - began


def state(network: Network) -> int:
    """Another number whenever a node has learned or forgotten something."""
    return hash(
        tuple(
            (node.switch.address, node.accounts.routing.changes) for node in network.nodes.values()
        )
    )


def measure(size: int, seed: int) -> tuple[int, ...]:
    world = World(seed, size)
    for wire in world.wires:
        wire.set(True)
    times = [changed_at(world.network)]
    node = world.network.random.choice(list(world.network.nodes.values()))
    for routes in ({"test.new.prefix": node.switch.account(USER)}, {}):
        node.accounts.routing.set_static(routes)
        node.wake()
        times.append(changed_at(world.network))
    return tuple(times)


def plot(points: dict[str, list[tuple[int, float]]]) -> str:
    """Lines over a logarithmic axis of sizes, as SVG."""
    highest = max(value for line in points.values() for _, value in line) * 1.15
    sizes = sorted({size for line in points.values() for size, _ in line})
    left = {size: 80 + 480 * place / (len(sizes) - 1) for place, size in enumerate(sizes)}
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360" font-family="sans-serif"'
        ' font-size="13">',
        '<rect width="640" height="360" fill="white"/>',
        '<path d="M80 30V310H580" fill="none" stroke="#444"/>',
        '<text x="330" y="348" text-anchor="middle">nodes</text>',
        '<text x="20" y="170" text-anchor="middle" transform="rotate(-90 20 170)">'
        "seconds until nothing changes</text>",
    ]
    for size in sizes:
        parts.append(f'<text x="{left[size]:.0f}" y="328" text-anchor="middle">{size:,}</text>')
    for tick in range(5):
        value = highest * tick / 4
        top = 310 - 280 * tick / 4
        parts.append(f'<path d="M80 {top:.0f}H580" stroke="#ddd"/>')
        parts.append(f'<text x="72" y="{top + 4:.0f}" text-anchor="end">{value:.1f}</text>')
    for number, (name, line) in enumerate(points.items()):
        colour = ("#1f6f9f", "#c05a1c", "#3d8a3d")[number]
        spots = [(left[size], 310 - 280 * value / highest) for size, value in line]
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in spots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, value) in zip(spots, line, strict=True):
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4" fill="{colour}"/>')
            parts.append(f'<text x="{x + 8:.0f}" y="{y - 8:.0f}">{value:.2f}</text>')
        parts.append(f'<text x="100" y="{48 + 18 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    logging.disable(logging.WARNING)
    sizes = [int(size) for size in sys.argv[2:]] or _SIZES
    names = ("all links come up", "a new prefix", "a prefix withdrawn")
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    for size in sizes:
        found = [measure(size, seed) for seed in range(_SEEDS.get(size, 1))]
        for name, times in zip(points, zip(*found, strict=True), strict=True):
            seconds = statistics.median(times) / 1_000
            points[name].append((size, seconds))
            print(f"{size} nodes, {name}: {seconds:.2f} s", flush=True)
    Path(sys.argv[1]).write_text(plot(points))


if __name__ == "__main__":
    main()
