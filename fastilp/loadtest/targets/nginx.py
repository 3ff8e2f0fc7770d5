"""nginx as a plain proxy of the same bytes: what an HTTP hop costs that does nothing. The yardstick
of ILP-over-HTTP.

Imports the target's base. One worker, no access log, 64 kept connections to the next hop, HTTP/1.1.
"""

import os
import shutil
import subprocess

from fastilp.loadtest.targets.base import HOST, Access, Target, next_hop_port
from fastilp.loadtest.task import Destination, Load, Peer
from fastilp.ports import free_port

# Debian's nginx-light has no modules but what is compiled in; it is enough.
PACKAGE = "nginx-light"
_PATHS = ("/usr/sbin", "/usr/local/sbin", "/sbin")

_CONFIG = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    upstream next_hop {{
        server {host}:{next_hop};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {host}:{port} backlog=4096;
        location / {{
            proxy_pass http://next_hop;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Nginx(Target):
    name = "nginx"
    transports = frozenset({"http"})

    def missing(self) -> str | None:
        return (
            None
            if _program() or _install()
            else (f"nginx is not installed and could not be: as root, `apt-get install {PACKAGE}`")
        )

    def version(self) -> str:
        shown = subprocess.run([_program() or "nginx", "-v"], capture_output=True, text=True)
        return shown.stderr.rpartition("/")[2].strip()

    def start(self, load: Load, core: int | None) -> Access:
        next_hop = next_hop_port(load) or 0
        port = free_port()
        config = self.folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(folder=self.folder, host=HOST, port=port, next_hop=next_hop)
        )
        command = [_program() or "nginx", "-p", str(self.folder), "-c", str(config)]
        process = self.run(command, "nginx", core)
        process.wait_for_http(f"http://{HOST}:{port}/")
        sender = Peer(
            kind="http", host=HOST, port=port, path="/accounts/sender0/ilp", token="token"
        )
        destination = Destination(prefix="example.hub.receiver0.load")
        return Access((sender,), (), destination, next_hop)


def _program() -> str | None:
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), *_PATHS)))


def _install() -> bool:
    """With apt, as root, without asking; its own service is not to start."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ("install", "-qq", "-y", "--no-install-recommends", PACKAGE)
    for command in (("update", "-qq"), install):
        done = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, check=False
        )
        if done.returncode != 0:
            return False
    return _program() is not None
