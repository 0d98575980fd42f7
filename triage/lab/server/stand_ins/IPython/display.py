"""Stand-in: names that SGLang imports, none of which a server calls."""


class HTML:
    def __init__(self, *args: object, **kwargs: object) -> None:
        """Shows nothing."""


class Image(HTML): ...


class Markdown(HTML): ...


class Javascript(HTML): ...


def display(*args: object, **kwargs: object) -> None:
    """Shows nothing."""


def clear_output(*args: object, **kwargs: object) -> None:
    """Clears nothing."""
