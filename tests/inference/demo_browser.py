"""A visitor of the demo: the Chromium of the tests, which also opens addresses, types, and has a language."""

import json

from tests.browser import Browser, find

__all__ = ["Visitor", "find"]


class Visitor(Browser):
    """One page of a headless Chromium that visits a server."""

    def visit(self, url: str, language: str = "en-US") -> None:
        """Open an address with a browser of that language, and wait until gradio has drawn the page."""
        agent = self.run("navigator.userAgent")
        self.send("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        self.send("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.problems.clear()
        self.send("Page.navigate", url=url)
        word = "发送" if language.startswith("zh") else "Send"
        self.wait(f"document.querySelector('#send')?.textContent.trim() === {json.dumps(word)}")

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field, as an input method does."""
        self.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.focus(); field.select(); }})()"
        )
        self.send("Input.insertText", text=text)

    def click_text(self, text: str, within: str = "body") -> None:
        """Click the innermost element under `within` whose text is this."""
        self.wait(
            f"(() => {{ const found = [...document.querySelectorAll({json.dumps(within + ' *')})].filter(e => e.checkVisibility()"
            f" && e.textContent.trim() === {json.dumps(text)}).pop(); document.querySelectorAll('[data-wanted]').forEach(e =>"
            " delete e.dataset.wanted); if (found) found.dataset.wanted = ''; return !!found; })()"
        )
        self.click("[data-wanted]")

    def says(self, side: str) -> list[str]:
        """What the answers of a side say, in order."""
        return self.run(
            f"[...document.querySelectorAll('#{side} .bot.message, #{side} .message.bot')].map(e => e.innerText.trim())"
        )

    def status(self) -> str:
        return self.run("document.querySelector('#status')?.innerText.trim() ?? ''")
