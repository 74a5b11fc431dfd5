"""Near misses of a redirect URI: everything that a parser, a proxy or a careless comparison might take for the same."""

from __future__ import annotations

from collections.abc import Iterator

#: One of each registered shape, with whether a native client registered it.
SHAPES: dict[str, tuple[str, bool]] = {
    "plain": ("https://app.example.com/cb", False),
    "with a port": ("https://app.example.com:8443/cb", False),
    "with a query": ("https://app.example.com/cb?tenant=one", False),
    "with a slash at the end": ("https://app.example.com/cb/", False),
    "loopback": ("http://127.0.0.1:9000/cb", True),
    "private-use scheme": ("com.example.app:/cb", True),
}

FRAGMENTS = (
    *("/", "//", "/x", "/../x", "/./", "/.", "/..", "/..;/", ";p=1", "?", "?x=1", "&", "&x=1", "#", "#f", "%23"),
    *(".", "..", " ", "%20", "+", "\t", "\r", "\n", "\0", "%09", "%0d", "%0a", "%00", "%0d%0aX-Evil:1", "\u00a0"),
    *("\u3002", "\uff0f", "\u200b", "\ufeff", "\u202e", "%2e%2e", "%2f", "%2F", "%5c", "\\", "%252f", "%252e%252e"),
    *("%c0%af", "%e0%80%af", "%c0%ae%c0%ae", "@", ":", "*", "[]", "'", '"', "<", "|", ","),
    *("https://evil.example/", "@evil.example", "%40evil.example"),
)
PATH_CONFUSIONS = (
    "/../FAKEPATH",
    "/..%2FFAKEPATH",
    "/..%2fFAKEPATH",
    "/%2e%2e/FAKEPATH",
    "/%2E%2E%2FFAKEPATH",
    "/..;/FAKEPATH",
    "/;/../../FAKEPATH",
    "/..%5CFAKEPATH",
    "/..\\FAKEPATH",
    "%0A%0D/../../FAKEPATH",
    "%0D%0A/../../FAKEPATH",
    "/%00/../FAKEPATH",
    "/%252e%252e/FAKEPATH",
    "/%252e%252e%252fFAKEPATH",
    "/%c0%ae%c0%ae/FAKEPATH",
    "/%uff0e%uff0e/FAKEPATH",
    "/.../FAKEPATH",
    "/./../FAKEPATH",
    "/?/../FAKEPATH",
    "/#/../FAKEPATH",
)
LOOPBACK_SPELLINGS = (
    *("localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1"),
    *("127.0.0.01", "127.000.000.001", "127.0.0.2", "127.0.0.1.", "127\u30020\u30020\u30021", "1\uff127.0.0.1", "0"),
    *("0.0.0.0", "[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1%25lo]"),
    *("::1", "[::]"),
)
SCHEMES = (
    *("http", "https", "ftp", "file", "data", "javascript", "vbscript", "ws", "HTTPS", "hTTps", "https+x", "x-https"),
    *("", "https:", "http:", "https:evil.example"),
)
PORTS = (
    *("", "0", "00", "80", "443", "0443", "00443", "8000", "65535", "65536", "99999", "-1", "+443", " ", "443 ", "x"),
    "4\uff143",
)
HOMOGRAPHS = dict(zip("aeopcx1m", "\u0430\u0435\u043e\u0440\u0441\u0445\u0661\uff4d", strict=True))


def mutations(uri: str) -> list[str]:
    """All near misses of `uri`, each once, in an order that never changes."""
    found = dict.fromkeys((*_of_characters(uri), *_of_places(uri), *_of_authority(uri), *_of_length(uri)))
    found.pop(uri, None)
    return list(found)


def _of_characters(uri: str) -> Iterator[str]:
    for index, character in enumerate(uri):
        before, after = uri[:index], uri[index + 1 :]
        code = f"{ord(character):02x}"
        yield before + after
        yield before + character * 2 + after
        yield before + character.swapcase() + after
        yield before + f"%{code}" + after
        yield before + f"%{code.upper()}" + after
        yield before + f"%25{code}" + after
        if character in HOMOGRAPHS:
            yield before + HOMOGRAPHS[character] + after
        if character in "/:":
            yield before + "\\" + after
    yield from ("", uri.upper(), uri.title(), uri[::-1], uri + uri)
    yield from (f"{uri},{uri}", f"{uri} {uri}", f"[{uri}]", f'"{uri}"')


def _of_places(uri: str) -> Iterator[str]:
    scheme_end = uri.index(":") + 1
    host_start = scheme_end + (2 if uri[scheme_end:].startswith("//") else 0)
    path_start = uri.index("/", host_start)
    places = {0, scheme_end, host_start, path_start, path_start + 1, len(uri.partition("?")[0]), len(uri)}
    for place in sorted(places):
        for fragment in FRAGMENTS:
            yield uri[:place] + fragment + uri[place:]
    for confusion in PATH_CONFUSIONS:
        yield uri + confusion
        yield uri[:path_start] + confusion
        yield uri[:path_start] + confusion + uri[path_start:]


def _of_authority(uri: str) -> Iterator[str]:
    scheme, _, rest = uri.partition(":")
    bare = rest.lstrip("/")
    for other in SCHEMES:
        yield f"{other}:{rest}"
    yield from (rest, bare, f"//{bare}", f"{scheme}:/{bare}", f"{scheme}:{bare}", f"{scheme}:///{bare}")
    yield f"{scheme}:\\\\{bare}"
    if not rest.startswith("//"):
        yield from (f"{scheme}://{bare}", f"{scheme}://evil.example{rest}", f"{scheme}.evil:{rest}")
        return
    authority, _, tail = bare.partition("/")
    host, _, _ = authority.partition(":")
    for user in ("u", "u:p", "", ":", "evil.example", "evil.example\\", "evil.example#", "evil.example?"):
        yield f"{scheme}://{user}@{authority}/{tail}"
        yield f"{scheme}://{user}%40{authority}/{tail}"
    for other in ("evil.example", f"{host}.evil.example", f"evil{host}", f"{host}-evil", f"evil.{host}", f"{host}."):
        yield from (f"{scheme}://{other}/{tail}", f"{scheme}://{other}:8443/{tail}")
        yield f"{scheme}://{authority}@{other}/{tail}"
    for other in (f"{host}..", f".{host}", f"xn--{host}", f"{host}%00.evil.example", f"{host}\uff0eevil.example"):
        yield f"{scheme}://{other}/{tail}"
    for spelling in LOOPBACK_SPELLINGS:
        yield from (f"{scheme}://{spelling}/{tail}", f"{scheme}://{spelling}:9000/{tail}")
        yield f"http://{spelling}:9000/{tail}"
    for port in PORTS:
        yield f"{scheme}://{host}:{port}/{tail}"
    yield from (f"{scheme}://{host}/{tail}", f"{scheme}://{host}:1:2/{tail}", f"{scheme}://{host}:9000:/{tail}")


def _of_length(uri: str) -> Iterator[str]:
    for filler in ("a", "/", "%20", "?a=b&"):
        yield uri + filler * (65536 // len(filler))
