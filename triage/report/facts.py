"""Facts of a dump as pairs of words, for terminal and page alike."""

from __future__ import annotations

from typing import Any


def shown(value: Any) -> str:
    """A value of a dump in words; what is None is "-"."""
    if isinstance(value, dict):
        return ", ".join(f"{key} = {shown(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    return "-" if value is None else str(value)


def launch_pairs(launch: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a launch (`asdict` of a `Launch`) is, name and value."""
    window = launch["window_left"]
    return [
        (
            "call",
            f"{launch['api']} (launch {launch['launch_id']}, layer {shown(launch['layer_id'])})",
        ),
        ("window", "none" if window < 0 else f"{window + 1} keys (window_left {window})"),
        ("pages", f"{launch['num_pages']} of {launch['page_size']} tokens"),
        (
            "heads",
            f"{launch['num_q_heads']} query, {launch['num_kv_heads']} KV, "
            f"head_dim {launch['head_dim']}",
        ),
        ("max_seq_len", launch["max_seq_len"]),
        ("q_len_per_req", launch["q_len_per_req"] or "ragged"),
        ("layout", f"{launch['kv_layout']}, separate K and V: {launch['separate_kv']}"),
        ("arguments", launch["arguments"]),
    ]
