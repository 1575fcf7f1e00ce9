"""What `eson demo --keep` leaves to play with, with addresses that work on this machine."""

from __future__ import annotations

from eson.admin.demo.programs import typed
from eson.admin.demo.stage import Stage


def how_to_go_on(stage: Stage) -> str:
    """Commands to copy."""
    provider, subscriber = stage.both
    fnua = typed("fnua")
    lines = ["", "Both go on running. Try, in another terminal:", ""]
    for one in stage.both:
        login = f"user {one.user}, password in {one.directory}/user.password"
        lines += [
            f"  # {one.domain} ({login})",
            f"  telnet 127.0.0.1 {one.ports['fnap']}",
            f"  openssl s_client -crlf -quiet -CAfile {one.ca} -connect 127.0.0.1:{one.ports['fnaps']}",
            f"  dig +norec -p {one.ports['names']} @127.0.0.1 {one.flow} PTR",
            f"  {fnua} -c {one.directory}/fnua.yaml get flows",
            "",
        ]
    lines += [
        "  # write at one side, read at the other",
        f"""  echo '{{"specversion":"1.0","type":"hello","source":"/me","data":"hi"}}' | """
        f"{fnua} -c {provider.directory}/fnua.yaml write {provider.flow}",
        f"  {fnua} -c {subscriber.directory}/fnua.yaml read {subscriber.flow} --follow",
        "",
        "  # a credential for any Kafka client (SASL_SSL, SCRAM-SHA-256) at the address of the broker",
        f"  {fnua} -c {subscriber.directory}/fnua.yaml get credential {subscriber.flow}",
        f"  {typed('kafka-python')} consumer -b 127.0.0.1:{subscriber.ports['brokers']} -S SASL_SSL "
        f"-M SCRAM-SHA-256 -C ssl_cafile={subscriber.ca} -C auto_offset_reset=earliest "
        f"-U {subscriber.flow} -P … -g {subscriber.flow} -t {subscriber.flow}",
        "  # the same with kcat",
        f"  kcat -b 127.0.0.1:{subscriber.ports['brokers']} -X security.protocol=sasl_ssl "
        f"-X ssl.ca.location={subscriber.ca} -X sasl.mechanism=SCRAM-SHA-256 "
        f"-X sasl.username={subscriber.flow} -X sasl.password=… -C -t {subscriber.flow}",
        "",
        "  # the end of both",
        f"  kill {' '.join(str(one.process.pid) for one in stage.both if one.process)} && rm -r {stage.directory}",
    ]
    return "\n".join(lines)
