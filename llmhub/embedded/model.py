"""The local model `smollm2`: llama.cpp's OpenAI-compatible server in a process of its own.

Chats need a key that only the hub has: other users of the machine can reach the port, and would bypass the record.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmhub.embedded import wheels
from llmhub.embedded.child_processes import ChildCommand, log_contains, log_size
from llmhub.embedded.ports import LOOPBACK, is_answering

MODEL_NAME = "smollm2"
CONTEXT_TOKENS = 8192
PARALLEL_CHATS = 4
MAX_TOKENS = 512
TEMPERATURE = 0.2
TOP_P = 0.9
REPEAT_PENALTY = 1.1
PROMPT_CACHE_MIB = 128
LOG_ERRORS = 1  # warnings quote prompts
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 1.0
LISTENS = f"{MODEL_NAME} is served at"


@dataclass(frozen=True, slots=True)
class LocalModel:
    port: int
    key: str = field(repr=False)
    log: Path
    log_size: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/v1"


def new_local_model(*, port: int, key: str, log: Path) -> LocalModel:
    return LocalModel(port=port, key=key, log=log, log_size=log_size(log))


def get_command(server: LocalModel, *, env: Mapping[str, str], root: Path) -> ChildCommand:
    """Return the command; the key goes through standard input, not the environment or the arguments."""
    file, port = str(wheels.get_model_file()), str(server.port)
    argv = [sys.executable, "-m", "llmhub.embedded.model", "--file", file, "--port", port]
    return ChildCommand(name="model", argv=argv, log=server.log, env=env, cwd=root, stdin=f"{server.key}\n")


def is_ready(server: LocalModel) -> bool:
    """Whether our server is ready: its log tells that it, and not another process, has the port."""
    is_ours = log_contains(server.log, LISTENS, since=server.log_size)
    return is_ours and is_answering(LOOPBACK, server.port, "/health", timeout_s=CONNECT_TIMEOUT_S)


def serve(file: Path, *, port: int, key: str) -> None:
    """Serve until a signal ends the process; concurrent chats share one context."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.model_alias = {MODEL_NAME}
    params.hostnames = [LOOPBACK]
    params.port = port
    params.reuse_port = False
    params.api_keys = [key]
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = PARALLEL_CHATS
    params.kv_unified = True
    # A small model may never stop: this bounds requests without a limit.
    params.n_predict = MAX_TOKENS
    params.sampling.temp = TEMPERATURE
    params.sampling.top_p = TOP_P
    params.sampling.penalty_repeat = REPEAT_PENALTY
    params.cpuparams.n_threads = os.cpu_count() or 1
    params.cache_ram_mib = PROMPT_CACHE_MIB
    # Keep prompts private: no UI, no state endpoints, no CORS.
    params.verbosity = LOG_ERRORS
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.cors_origins = ""
    server = xllamacpp.Server(params)
    print(f"{LISTENS} {server.listening_address}", flush=True)
    signal.pause()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a GGUF model over HTTP on the loopback interface.")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve(arguments.file, port=arguments.port, key=sys.stdin.readline().strip())


if __name__ == "__main__":
    main()
