"""Starts chroma-mcp for HAL-9000: python launch.py CHROMA-MCP-ARGUMENTS.

Three things differ from the plain program. The embedding model is read from beside this file instead of the home
directory, where it would be downloaded first. It is loaded once and not for every call. And what chroma-mcp prints while
it starts goes to stderr: on stdout a client expects nothing but messages.
"""

import functools
import pathlib
import sys

import chroma_mcp.server
from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2


def load_once(part):
    """Makes a cached property of each ONNXMiniLM_L6_V2 one of the process; chromadb makes a new object for every call."""
    load = ONNXMiniLM_L6_V2.__dict__[part].func
    shared = functools.lru_cache(maxsize=1)(lambda: load(ONNXMiniLM_L6_V2()))
    setattr(ONNXMiniLM_L6_V2, part, property(lambda _: shared()))


ONNXMiniLM_L6_V2.DOWNLOAD_PATH = pathlib.Path(__file__).resolve().parent / "model"
load_once("model")
load_once("tokenizer")
chroma_mcp.server.print = functools.partial(print, file=sys.stderr, flush=True)

if __name__ == "__main__":
    chroma_mcp.server.main()
