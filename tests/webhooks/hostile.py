"""URLs that lead to where no webhook may go, each in a spelling of its own. `{port}` is a port with a listener."""

HOSTILE = [
    # Loopback, in decimal, octal, hexadecimal and short spellings.
    "http://127.0.0.1:{port}/", "http://127.0.0.2:{port}/", "http://127.255.255.254:{port}/", "http://127.1:{port}/",
    "http://127.0.1:{port}/", "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://0x7f.1:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/", "http://017700000001:{port}/", "http://0177.0.0.1:{port}/",
    "http://0177.0.0.01:{port}/", "http://127.0.0.1.:{port}/", "http://127.000.000.001:{port}/",
    "http://127.0.0.01:{port}/", "http://127.0x1:{port}/",
    # Names of this machine.
    "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://localhost.:{port}/", "http://a.localhost:{port}/",
    "http://localhost.localdomain:{port}/", "http://ip6-localhost:{port}/", "http://LocalHost.:{port}/",
    # The unspecified address reaches this machine on many systems.
    "http://0.0.0.0:{port}/", "http://0:{port}/", "http://0x0:{port}/", "http://00:{port}/", "http://[::]:{port}/",
    "http://0.1.2.3:{port}/",
    # IPv6, and what is embedded in it.
    "http://[::1]:{port}/", "http://[0:0:0:0:0:0:0:1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/", "http://[::127.0.0.1]:{port}/", "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/", "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/", "http://[2002:a9fe:a9fe::1]:{port}/", "http://[2001:0:7f00:1::]:{port}/",
    "http://[2606:4700::5efe:127.0.0.1]:{port}/", "http://[fe80::1]:{port}/", "http://[fc00::1]:{port}/",
    "http://[fd12:3456:789a::1]:{port}/", "http://[fec0::1]:{port}/", "http://[ff02::1]:{port}/",
    "http://[100::1]:{port}/", "http://[2001:db8::1]:{port}/", "http://[::ffff:10.0.0.1]:{port}/",
    "http://[::ffff:169.254.169.254]:{port}/", "http://[fd00:ec2::254]:{port}/", "http://[::1%25lo]:{port}/",
    "http://[fe80::1%25eth0]:{port}/", "http://[3fff::1]:{port}/",
    # Private, link-local, metadata, carrier, test, group and reserved ranges.
    "http://10.0.0.1:{port}/", "http://172.16.0.1:{port}/", "http://172.31.255.254:{port}/",
    "http://192.168.0.1:{port}/", "http://169.254.169.254/latest/meta-data/", "http://169.254.1.1:{port}/",
    "http://2852039166/latest/meta-data/", "http://0xA9FEA9FE/", "http://0251.0376.0251.0376/",
    "http://168.63.129.16/metadata", "http://100.100.100.200/latest", "http://192.0.0.192/opc", "http://100.64.0.1/",
    "http://192.0.0.1/", "http://192.0.0.8/", "http://192.0.2.1/", "http://198.18.0.1/", "http://198.51.100.1/", "http://203.0.113.1/",
    "http://192.88.99.1/", "http://224.0.0.1/", "http://239.255.255.250/", "http://240.0.0.1/",
    "http://255.255.255.255/",
    # What parsers disagree on.
    "http://user@127.0.0.1:{port}/", "http://example.com@127.0.0.1:{port}/", "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/", "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/", "http://127.0.0.1:{port}?@example.com/", "http://127%2e0.0.1:{port}/",
    "http://127。0。0。1:{port}/", "http://①②⑦.⓪.⓪.①:{port}/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http:///127.0.0.1:{port}/", "http:127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "//127.0.0.1:{port}/",
    "http://127.0.0.1 :{port}/", "http://127.0.0.1\t:{port}/", "http://127.0.0.1\r\nHost: x:{port}/",
    # Other schemes.
    "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_x", "dict://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock", "ws://127.0.0.1:{port}/", "javascript:alert(1)", "data:text/plain,x",
]  # fmt: skip

# Names that anybody may point anywhere: what their addresses are is up to the test.
REBOUND = [
    ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["10.0.0.5"], ["169.254.169.254"], ["::1"],
    ["2606:4700::1111", "::1"], ["::ffff:127.0.0.1"], ["64:ff9b::a00:1"], ["0.0.0.0"], ["fe80::1"], ["fd00:ec2::254"],
]  # fmt: skip
