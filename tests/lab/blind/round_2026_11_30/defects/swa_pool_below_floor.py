"""The SWA pool is sized below what one request needs."""

from contextlib import contextmanager

from triage.lab.patching import replaced

NAME = "swa_pool_below_floor"
REFERENCE = "https://github.com/sgl-project/sglang/pull/37610"
SUBSYSTEM = "pool sizing (hybrid SWA)"
WHAT = (
    "With a small token budget and swa_full_tokens_ratio the SWA pool becomes smaller than window + page; start-up goes on"
    " and every request waits for ever, as no prefill can be admitted."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The SWA pool is too small for a single request (sliding window plus one page): nothing can be admitted.",
    "keywords": ["swa pool", "too small", "window", "cannot hold", "floor", "undersized"],
}
PAGE, WINDOW = 16, 48


def edited(function, *pairs):
    """The released function with a few of its lines put back to their earlier form."""
    import __future__
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(function))
    for released, earlier in pairs:
        assert source.count(released) == 1, (source.count(released), released)
        source = source.replace(released, earlier)
    scope = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__} before the fix>", "exec", flags, True), function.__globals__, scope)
    return scope[function.__name__]


@contextmanager
def plant(harmed):
    from sglang.srt.model_executor.pool_configurator import HybridSWAPoolConfigurator

    def make(original):
        earlier = edited(
            original, ("and self._sliding_window_size + self._page_size >= swa_tokens", "and False")
        )

        def _solve_pool_sizes(self, max_total_num_tokens, page_size):
            config = earlier(self, max_total_num_tokens, page_size)
            if config.swa_max_total_num_tokens <= self._sliding_window_size + self._page_size:
                harmed(f"SWA pool of {config.swa_max_total_num_tokens} tokens, window {self._sliding_window_size}")
            return config

        return _solve_pool_sizes

    with replaced(HybridSWAPoolConfigurator, "_solve_pool_sizes", make):
        yield


def drive(lab):
    from sglang.srt.model_executor.pool_configurator import HybridSWAPoolConfigurator

    configurator = HybridSWAPoolConfigurator.__new__(HybridSWAPoolConfigurator)
    configurator.__dict__.update(
        _full_layers_num=1, _swa_layers_num=5, _swa_full_tokens_ratio=0.1, _sliding_window_size=WINDOW, _page_size=PAGE
    )
    lab.event("the pools are sized")
    try:
        config = configurator.calculate_pool_sizes_from_max_tokens(30 * PAGE, PAGE)
    except ValueError:  # as it should be: refused at start-up
        return
    bench = lab.bench(
        cache="chunk", requests=0, window=WINDOW, page_size=PAGE, full_pages=config.full_max_total_num_tokens // PAGE,
        swa_pages=config.swa_max_total_num_tokens // PAGE,
    )
    lab.step()
    lab.event("a request waits")
    bench.driver.enqueue("one", 64, 4, 0)
    for _ in range(4):
        bench.driver.tick()
        lab.step()
