#!/usr/bin/env python3
"""Serves a model file with llama.cpp's own HTTP server, on loopback: serve.py FILE --alias NAME

Prints `serving http://127.0.0.1:PORT` once it listens, and ends on SIGTERM. The Python that runs it needs
xllamacpp, as the one of `tests/clients/run.py --install` does.
"""

import argparse
import signal
import socket

import xllamacpp

def free_port():
    """A port that nobody has now; the server can't be told to choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def parameters(options, port):
    settings = xllamacpp.CommonParams()
    settings.model.path = options.model
    settings.model_alias = {options.alias}
    settings.hostnames = ["127.0.0.1"]
    settings.port = port
    settings.n_parallel = options.slots
    settings.n_ctx = options.slots * options.context
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = options.threads
    settings.n_threads_http = 4
    settings.endpoint_slots = True
    settings.use_jinja = True
    # Nothing may be fetched, and a small model needs no warming.
    settings.offline = True
    settings.warmup = False
    if options.api_key:
        settings.api_keys = [options.api_key]
    if options.embedding:
        settings.embedding = True
        settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    settings.sampling.ignore_eos = options.endless
    # What is sampled is sampled the same way each time: whether a small model can add is not what the walks ask.
    settings.sampling.seed = options.seed
    return settings


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--alias", required=True, help="what the model is called")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--slots", type=int, default=2, help="answers at once")
    parser.add_argument("--context", type=int, default=32768, help="tokens of each slot's window")
    # One core is for the server under test.
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--api-key", help="the token that callers need")
    parser.add_argument("--embedding", action="store_true", help="embeds texts too")
    parser.add_argument("--seed", type=int, default=1, help="of the sampling, where a request brings none")
    parser.add_argument("--endless", action="store_true", help="answers end at their token limit only")
    return parser.parse_args()


def main():
    options = arguments()
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the server makes its threads, so that the wait below is who gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = xllamacpp.Server(parameters(options, options.port or free_port()))
    print(f"serving {server.listening_address}", flush=True)
    signal.sigwait(signals)


if __name__ == "__main__":
    main()
