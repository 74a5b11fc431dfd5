"""Where a client's URL must not lead: addresses, odd ways to write them, and names that lead there (F-01, F-02)."""

from __future__ import annotations

#: Addresses that are somebody's inside, each from another range.
INNER_ADDRESSES = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
)
#: Other ways to write an address that resolvers and browsers know.
ODD_ADDRESSES = (
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.256",
    "1.1.1.1.1",
    "169.254.169.254.",
    "0xa9fea9fe",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "１２７.0.0.1",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[::ffff:127.0.0.1%1]",
    "[v1.fe80::1]",
    "[127.0.0.1]",
    "[::1",
    "::1",
    "0",
    "0x",
    "foo.0x7f",
    "foo.1",
)

PUBLIC_ADDRESS = "93.184.215.14"
#: Where the server itself is reached from the internet.
OWN_ADDRESS = "93.184.215.99"
OWN_HOST = "own.corpus.test"
PUBLIC_HOST = "public.corpus.test"
#: Names whose lookups go wrong in a way of their own, for each inner address: `mixed-3.corpus.test`.
KINDS_OF_NAME = ("inner", "mixed", "crowd", "rebind", "late", "alias", "deep")


def literal(address: str) -> str:
    """The address as a URL has it."""
    return f"[{address}]" if ":" in address else address


#: URLs that show what they are without a lookup.
REFUSED_URLS = (
    *(f"https://{literal(address)}/x" for address in INNER_ADDRESSES),
    *(f"https://{literal(address)}:8443/x" for address in INNER_ADDRESSES[::7]),
    *(f"https://{host}/x" for host in ODD_ADDRESSES),
    "https://localhost/x",
    "https://localhost:8443/x",
    "https://sub.localhost/x",
    "https://inner/x",
    f"https://{PUBLIC_HOST}./x",
    f"https://user@{PUBLIC_HOST}/x",
    f"https://{PUBLIC_HOST}@127.0.0.1/x",
    f"https://127.0.0.1\\@{PUBLIC_HOST}/x",
    f"https://{PUBLIC_HOST}:22/x",
    f"https://{PUBLIC_HOST}:25/x",
    f"https://{PUBLIC_HOST}:80/x",
    f"https://{PUBLIC_HOST}:6379/x",
    f"https://{OWN_HOST}/x",
    f"https://{OWN_HOST}:443/oauth/token",
    f"http://{PUBLIC_HOST}/x",
    "http://127.0.0.1/x",
    "http://[::1]:8443/x",
    f"file://{PUBLIC_HOST}/etc/passwd",
    "file:///etc/passwd",
    f"gopher://{PUBLIC_HOST}:6379/x",
    f"ftp://{PUBLIC_HOST}/x",
)
#: URLs that only a lookup shows to lead inside; the lookup is another for each kind of name.
NAMED_URLS = tuple(
    f"https://{kind}-{number}.corpus.test/x" for kind in KINDS_OF_NAME for number in range(len(INNER_ADDRESSES))
)
