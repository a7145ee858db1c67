"""The presets of an image as a page has them: links, and what to copy."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from iiif_proxy.web.pages.page import Markup, anchor


@dataclass(frozen=True, slots=True)
class Shown:
    """One preset of one image. `url` is canonical; `width` and `height` as it comes out, turned.

    `set` are addresses and widths of all presets that show the same, smallest first.
    """

    name: str
    label: str
    url: str
    address: str
    media_type: str
    width: int
    height: int
    set: Sequence[tuple[str, int]] = ()

    @property
    def tag(self) -> str:
        """`<img>` that lets a browser choose among the presets that show the same."""
        several = ", ".join(f"{url} {width}w" for url, width in self.set)
        return (
            f'<img src="{html.escape(self.url)}" srcset="{html.escape(several)}"'
            f' sizes="{self.width}px" width="{self.width}" height="{self.height}" alt="">'
        )

    @property
    def markdown(self) -> str:
        # Commonmark takes any address in <> that has neither < nor >; ours have none.
        return f"![](<{self.url}>)"


def menu(presets: Sequence[Shown]) -> Markup:
    """Opens without a script; copying needs one. Empty where there are no presets."""
    if not presets:
        return Markup("")
    rows = "\n".join(map(_row, presets))
    return Markup(
        f'<details id="presets"><summary>Presets</summary>\n<ul>\n{rows}\n</ul>\n</details>'
    )


def _row(preset: Shown) -> str:
    buttons = "".join(
        f'<button type="button" data-clip="{html.escape(text)}"'
        f' aria-label="{html.escape(f"Copy {what} of {preset.label}")}">{name}</button>'
        for name, what, text in (
            ("URL", "the address", preset.url),
            ("HTML", "an img tag", preset.tag),
            ("Markdown", "Markdown", preset.markdown),
        )
    )
    size = f"<small>{preset.width} × {preset.height}</small>"
    return f"<li>{anchor(preset.url, preset.label)} {size} <span>{buttons}</span></li>"
