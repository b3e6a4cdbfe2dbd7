import json
import zipfile
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bimonn_jax
from bimonn_jax import BiMoNN, DenseBiMoNN
from bimonn_jax._support.random_arrays import bernoulli, uniform
from bimonn_jax.networks.architecture import to_json
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import BiSELayer, ComplementLayer, LUILayer, RealLayer
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.neurons.params import BooleanNeurons, RankNeurons, map_neurons
from tests.support.boolean_networks import network as random_network

X = bernoulli(jax.random.key(1), 0.5, (3, 6, 6, 1))
MODELS = {
    "convolutional": BiMoNN((3, 1), (3, 3), complement=True),
    "level sets": BiMoNN((2,), (3, 3), level_sets=(0.3, 0.6)),
    "dense": DenseBiMoNN((5,), 3, binary_head=True),
    "real head": DenseBiMoNN((5,), 3, binary_head=False),
}


def network(model, x=X):
    """Of dilations and erosions, which versions before 4 know."""
    params = model.init(jax.random.key(0), x)["params"]
    return model.architecture, bimonn_jax.binarize(params, ranks=False)


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_network_computes_the_same(name, tmp_path):
    model = MODELS[name]
    x = uniform(jax.random.key(2), X.shape) if name == "level sets" else X
    architecture, boolean = network(model, x)
    save_network(tmp_path / "n.npz", architecture, boolean, metadata={"data": "test"})
    loaded = load_network(tmp_path / "n.npz")
    np.testing.assert_array_equal(loaded(x), model.apply({"params": boolean}, x))
    assert loaded.metadata == {"data": "test"}
    assert to_json(loaded.architecture) == json.loads(json.dumps(to_json(architecture)))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), loaded.params, boolean)
    assert jax.tree.all(same)


def test_numbers_that_are_0_or_1_are_taken_and_others_named(tmp_path):
    architecture, boolean = network(MODELS["convolutional"])
    save_network(tmp_path / "n.npz", architecture, boolean)
    loaded = load_network(tmp_path / "n.npz")
    np.testing.assert_array_equal(loaded(np.asarray(X, np.uint8)), loaded(X))
    with pytest.raises(ValueError, match=r"x must be binary, but holds 1 values.*0\.25"):
        loaded(jnp.zeros((1, 6, 6, 1)).at[0, 2, 2, 0].set(0.25))


def test_nothing_is_overwritten_silently(tmp_path):
    path = tmp_path / "n.npz"
    save_network(path, *network(MODELS["dense"]))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_network(path, *network(MODELS["convolutional"]))
    assert path.read_bytes() == before
    save_network(path, *network(MODELS["convolutional"]), overwrite=True)
    assert load_network(path).architecture[0].kind == "complement"


def test_real_neurons_and_odd_metadata_are_refused_and_leave_no_file(tmp_path):
    model = MODELS["dense"]
    params = model.init(jax.random.key(0), X)["params"]
    with pytest.raises(TypeError, match=r"layers_1/lui is real-valued: binarize"):
        save_network(tmp_path / "n.npz", model.architecture, params)
    with pytest.raises(TypeError):
        save_network(tmp_path / "n.npz", *network(model), metadata={"bad": object()})
    with pytest.raises(TypeError, match="keys of metadata must be text; got 1"):
        save_network(tmp_path / "n.npz", *network(model), metadata={"a": [{1: "changed"}]})
    with pytest.raises(ValueError, match="the name of a layer must be text"):
        ComplementLayer(None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_network(tmp_path / "no" / "n.npz", *network(MODELS["dense"]))
    with pytest.raises(FileNotFoundError, match="no network file"):
        load_network(tmp_path / "n.npz")


def rewrite(path, change):
    with np.load(path) as archive:
        entries = {name: archive[name] for name in archive.files}
    header = json.loads(entries["header"].tobytes().decode())
    change(header, entries)
    if "header" in entries:
        entries["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **entries)


def votes(header):
    """The description of an array that is stored as bits."""
    return header["arrays"]["layers_2/head/positive"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, e: h.update(version=99), "version is 99"),
        (lambda h, e: h.update(format="other"), "format"),
        (lambda h, e: e.pop("header"), "header"),
        (lambda h, e: h.pop("arrays"), "arrays"),
        (lambda h, e: h["arrays"].popitem(), "arrays are not those"),
        (lambda h, e: h["architecture"][0].update(kind="eval"), "layer kind"),
        (lambda h, e: votes(h).update(shape=[10**6]), "bits"),
        (lambda h, e: votes(h).update(shape=[-1]), r"shape \(-1,\)"),
        (lambda h, e: votes(h).update(shape=[2**40]), "elements, more than"),
        (lambda h, e: [d.update(shape=[2**29]) for d in h["arrays"].values()], "elements, more"),
        (lambda h, e: h["nodes"].update(layers_9="ternary_votes"), "no parameters.*layers_9"),
        (lambda h, e: h["nodes"].update({"layers_1/lui": "ternary_votes"}), "is called 'ternary"),
        (lambda h, e: h["nodes"].update({"layers_1/lui": "object"}), "is called 'object'"),
        (lambda h, e: h["nodes"].clear(), "binary neurons were expected"),
        (lambda h, e: h["architecture"][0]["options"].update(rank=10**9), "rank must be an int of"),
        (lambda h, e: votes(h).update(encoding="gaps"), "gaps"),
        (lambda h, e: votes(h).update(encoding="zip"), "encoding 'zip'"),
        (lambda h, e: votes(h).update(dtype="int8"), "is int8, but"),
    ],
)  # fmt: skip
def test_a_file_that_lies_is_refused_with_the_reason(change, message, tmp_path):
    path = tmp_path / "n.npz"
    plain, _ = random_network("ternary")
    save_network(path, plain.architecture, plain.params)
    rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        load_network(path)


def network_of_ranks():
    """Medians and more, with ranks beyond what can be counted, of windows and of channels."""
    rng = np.random.default_rng(0)
    bits = jnp.asarray(rng.random((3, 3, 1, 4)) < 0.7)
    rank = jnp.array([[5, 1, -(2**31), 2**31 - 1]], jnp.int32)
    windows = RankNeurons(bits, rank, jnp.array([[False, True, False, False]]))
    channels = RankNeurons(jnp.ones((4, 2), bool), jnp.array([2, 3]), jnp.zeros(2, bool))
    layers = BiSELayer("a", padding="SAME", border="zero"), LUILayer("b")
    return layers, {"a": {"bise": windows}, "b": {"lui": channels}}


def written_version(path):
    with np.load(path) as archive:
        return json.loads(archive["header"].tobytes().decode())["version"]


def test_ranks_come_back_and_raise_the_version_of_their_files_alone(tmp_path):
    path = tmp_path / "n.npz"
    architecture, boolean = network_of_ranks()
    save_network(path, architecture, boolean)
    loaded = load_network(path)
    np.testing.assert_array_equal(loaded(X), BooleanNetwork(architecture, boolean)(X))
    for one, other in zip(*map(jax.tree.leaves, (loaded.params, boolean)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    # A library that reads up to version 3 says so, and does not read on.
    assert written_version(path) == 4
    save_network(path, *network(MODELS["convolutional"]), overwrite=True)
    assert written_version(path) == 3


def ranks_of(header):
    """The description of the ranks of windows."""
    return header["arrays"]["a/bise/rank"]


def stored_as(dtype):
    """Ranks of another dtype, also in the header."""

    def change(header, entries):
        entries["a/bise/rank"] = entries["a/bise/rank"].astype(dtype)
        ranks_of(header).update(dtype=dtype)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, e: h.update(version=3), "holds ranks, which version 3 does not know"),
        (stored_as("float32"), "rank of binary neurons must be int32, got float32"),
        (stored_as("int64"), "a/bise/rank' is not what the header says"),
        (stored_as("uint8"), "a/bise/rank' is not what the header says"),
        (lambda h, e: ranks_of(h).update(dtype="int64"), "is not what the header says"),
        (lambda h, e: ranks_of(h).update(shape=[4]), "is not what the header says"),
        (lambda h, e: ranks_of(h).update(encoding="bits"), "is int32, but its encoding is 'bits'"),
        (lambda h, e: ranks_of(h).update(encoding="gaps"), "is int32, but its encoding is 'gaps'"),
        (
            lambda h, e: (e.update({"a/bise/rank": e["a/bise/rank"][:, :3]}),
                          ranks_of(h).update(shape=[1, 3])),
            r"complement has shape \(1, 4\), footprint|rank has shape \(1, 3\), footprint",
        ),
        (lambda h, e: h["nodes"].update({"a/bise": "boolean_neurons"}), "is called 'boolean_neur"),
        (lambda h, e: (h["arrays"].pop("a/bise/rank"), e.pop("a/bise/rank")), "is called 'rank_ne"),
    ],
)  # fmt: skip
def test_a_file_with_bad_ranks_is_refused_with_the_reason(change, message, tmp_path):
    path = tmp_path / "n.npz"
    save_network(path, *network_of_ranks())
    rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        load_network(path)


def test_whole_numbers_are_ranks_alone(tmp_path):
    plain, _ = random_network("real head")
    path = tmp_path / "n.npz"
    kernel = plain.params["layers_2"]["kernel"].astype(jnp.int32)
    counted = {**plain.params, "layers_2": {**plain.params["layers_2"], "kernel": kernel}}
    with pytest.raises(ValueError, match="its dtype is int32; floating was expected"):
        save_network(path, plain.architecture, counted)


def as_version_2(header, entries):
    """What the library wrote before it named the types of nodes."""
    header["version"] = 2
    del header["nodes"]


def as_version_1(header, entries):
    """What the library wrote before it knew gaps."""
    as_version_2(header, entries)
    header["version"] = 1
    for name, description in header["arrays"].items():
        if description.pop("encoding") == "gaps":
            bits = np.zeros(int(np.prod(description["shape"])), bool)
            bits[np.cumsum(entries[name].astype(int)) - 1] = True
            entries[name] = np.packbits(bits, bitorder="little")


def sparse_network():
    """A network whose footprints are stored as gaps, with one of more than 65,536 elements."""
    rng = np.random.default_rng(0)
    plain, _ = random_network("large")
    sparse = map_neurons(
        lambda n: n.replace(footprint=rng.random(n.footprint.shape) < 0.001), plain.params
    )
    return plain.architecture, sparse


@pytest.mark.parametrize("as_version", [as_version_1, as_version_2])
@pytest.mark.parametrize("make", [sparse_network, lambda: network(MODELS["dense"])])
def test_older_versions_are_still_read(make, as_version, tmp_path):
    path = tmp_path / "n.npz"
    architecture, boolean = make()
    save_network(path, architecture, boolean)
    rewrite(path, as_version)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), load_network(path).params, boolean)
    assert jax.tree.all(same)


def test_sparse_footprints_are_stored_as_gaps(tmp_path):
    path = tmp_path / "n.npz"
    architecture, boolean = sparse_network()
    save_network(path, architecture, boolean)
    encodings = {}
    rewrite(path, lambda h, e: encodings.update({n: d["encoding"] for n, d in h["arrays"].items()}))
    assert encodings["layers_2/lui/footprint"] == "gaps"
    assert encodings["layers_3/head/positive"] == "bits"
    same = jax.tree.map(lambda a, b: bool((a == b).all()), load_network(path).params, boolean)
    assert jax.tree.all(same)


NAMES = [
    *("positive", "negative", "complement", "footprint", "is_erosion", "header", "file", "nodes"),
    *("block/1", "a\0b", "..", ".", "%2F", "a b", "Größe", "\ud800", "a.npy", "\\", "lui"),
]


def test_layers_of_any_name_come_back(tmp_path):
    neurons = random_network("dense")[0].params["layers_0"]["lui"]
    square = jax.tree.map(lambda a: jnp.asarray(a)[..., :9][:9], neurons)
    architecture = tuple(LUILayer(name) for name in NAMES)
    save_network(tmp_path / "n.npz", architecture, {name: {"lui": square} for name in NAMES})
    loaded = load_network(tmp_path / "n.npz")
    assert [layer.name for layer in loaded.architecture] == NAMES
    assert set(loaded.params) == set(NAMES)
    for own in loaded.params.values():
        same = jax.tree.map(lambda a, b: bool((a == b).all()), own["lui"], square)
        assert jax.tree.all(same)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_real_heads_of_any_dtype_come_back_bit_by_bit(dtype, tmp_path):
    head = {"kernel": jnp.asarray([[0.1, -3.0], [7e-6, 2.0]], dtype), "bias": jnp.ones(2, dtype)}
    save_network(tmp_path / "n.npz", (RealLayer("h"),), {"h": head})
    for name, array in load_network(tmp_path / "n.npz").params["h"].items():
        assert array.dtype == dtype
        assert np.asarray(array).tobytes() == np.asarray(head[name]).tobytes()


def test_a_head_of_float64_is_saved_as_it_runs_and_needs_x64_to_come_back(tmp_path):
    head = {"kernel": np.full((2, 2), 0.1), "bias": np.ones(2)}
    save_network(tmp_path / "short.npz", (RealLayer("h"),), {"h": head})
    assert load_network(tmp_path / "short.npz").params["h"]["kernel"].dtype == jnp.float32
    with jax.enable_x64(True):
        save_network(tmp_path / "long.npz", (RealLayer("h"),), {"h": head})
        assert load_network(tmp_path / "long.npz").params["h"]["kernel"].dtype == jnp.float64
    with pytest.raises(ValueError, match="is float64: set jax_enable_x64"):
        load_network(tmp_path / "long.npz")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [(np.nan, "float32", "not finite"), (np.inf, "bfloat16", "not finite"),
     (1.0, "float8_e4m3fn", "is float8_e4m3fn; one of")],
)  # fmt: skip
def test_heads_that_could_not_be_read_are_not_saved(value, dtype, message, tmp_path):
    head = {"kernel": jnp.full((2, 2), value, dtype), "bias": jnp.ones(2, dtype)}
    with pytest.raises(ValueError, match=message):
        save_network(tmp_path / "n.npz", (RealLayer("h"),), {"h": head})
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_file_may_hold_is_neither_saved_nor_read(tmp_path, monkeypatch):
    path = tmp_path / "n.npz"
    save_network(path, *sparse_network())
    for limit in ("_MOST_ELEMENTS", "_MOST_BYTES", "_MOST_HEADER_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"bimonn_jax.networks.saving.{limit}", 100)
            with pytest.raises(ValueError, match="more than 100"):
                load_network(path)
            with pytest.raises(ValueError, match="more than 100"):
                save_network(tmp_path / "other.npz", *sparse_network())
    assert [p.name for p in tmp_path.iterdir()] == ["n.npz"]


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_network("~/n.npz", *network(MODELS["dense"]))
    assert (tmp_path / "n.npz").exists()
    assert load_network("~/n.npz").architecture == MODELS["dense"].architecture


def test_a_network_is_a_function_for_jit_and_vmap_and_a_pytree():
    plain = BooleanNetwork(*network(MODELS["convolutional"]), metadata={"kept": 1})
    expected = plain(X)
    for numbers in (X, X.astype(jnp.uint8), X.astype(jnp.float32)):
        np.testing.assert_array_equal(jax.jit(plain)(numbers), expected)
        np.testing.assert_array_equal(jax.vmap(plain)(numbers), expected)
    traces = []

    @jax.jit
    def run(network, x):
        traces.append(1)
        return network(x)

    same = jax.tree.map(jnp.asarray, plain)
    assert same.metadata == {"kept": 1}
    for net in (plain, same):
        np.testing.assert_array_equal(run(net, X), expected)
    assert len(traces) == 1
    flipped = jax.tree.map(jnp.logical_not, plain)
    assert not np.array_equal(run(flipped, X), expected)


def test_a_network_prints_as_one_line():
    plain = random_network("ternary")[0]
    assert repr(plain) == "BooleanNetwork(flatten -> hit_or_miss -> ternary; 10,560 parameters)"


def mutated(good, rng):
    """A file with bytes changed, cut, doubled or moved."""
    data = bytearray(good)
    for _ in range(rng.integers(1, 4)):
        start, length = rng.integers(len(data)), rng.integers(1, 20)
        match rng.integers(5):
            case 0:
                data[start] ^= 1 << rng.integers(8)
            case 1:
                data[start : start + length] = rng.bytes(len(data[start : start + length]))
            case 2:
                del data[start : start + length]
            case 3:
                data[start:start] = data[start : start + length]
            case 4:
                del data[start + 1 :]
    return bytes(data)


def test_ten_thousand_mutations_are_refused_or_harmless(tmp_path):
    path = tmp_path / "n.npz"
    architecture, boolean = network(MODELS["real head"])
    save_network(path, architecture, boolean, metadata={"data": "test"})
    good, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(10_000):
        path.write_bytes(mutated(good, rng))
        try:
            loaded = load_network(path)
        except ValueError:
            refused += 1
            continue
        # What zip keeps beside the contents, such as dates, may change; nothing else.
        assert to_json(loaded.architecture) == to_json(architecture)
        assert loaded.metadata == {"data": "test"}
        same = jax.tree.map(lambda a, b: bool((a == b).all()), loaded.params, boolean)
        assert jax.tree.all(same)
    assert refused > 9_000


def test_other_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "n.npz"
    save_network(path, *network(MODELS["dense"]))
    good = path.read_bytes()
    for bad in (b"", b"hello", good[: len(good) // 2], good[:-30]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="is not a readable boolean network"):
            load_network(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"no array")
    with pytest.raises(ValueError, match="is not a readable boolean network"):
        load_network(path)


def transposed(tree, path, part, field):
    node = tree[path][part]
    tree[path][part] = replace(node, **{field: getattr(node, field).T})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ternary", lambda t: t.pop("layers_1"), "layer 1, 'hit_or_miss'.*there is no 'lui'"),
        ("ternary", lambda t: t.update(other=t["layers_1"]), r"no layer reads.*'other/lui'"),
        ("ternary", lambda t: t["layers_1"].update(x=1), r"no layer reads.*'layers_1/x'"),
        ("ternary", lambda t: t["layers_1"].update(lui=t["layers_2"]["head"]), "binary neurons"),
        ("ternary", lambda t: t["layers_2"].update(head=t["layers_1"]["lui"]), "ternary head"),
        ("ternary", lambda t: transposed(t, "layers_2", "head", "negative"), "differ in shape"),
        ("dense", lambda t: t.update(layers_1=t["layers_0"]), "even number; got 11"),
        ("wide", lambda t: t.update(layers_1=t["layers_0"]), "reads 2 channels.*gives 3"),
        ("wide", lambda t: t["layers_0"].update(t["layers_1"] | {"bise": t["layers_0"]["bise"]}),
         "its 'lui' has weights of shape"),
        ("complements", lambda t: t.update(layers_2=t["layers_1"]), "2 axes|reads"),
        ("real head", lambda t: t["layers_2"].update(bias=t["layers_2"]["bias"][1:]), "its kernel"),
        ("real head", lambda t: t["layers_2"].update(bias=t["layers_2"]["bias"] > 0), "dtype is b"),
        ("real head", lambda t: t["layers_2"].update(kernel=t["layers_2"]["bias"]), "2 axes"),
    ],
)  # fmt: skip
def test_parameters_that_the_layers_cannot_run_are_refused(name, change, message, tmp_path):
    plain, _ = random_network(name)
    tree = {layer: dict(parts) for layer, parts in plain.params.items()}
    change(tree)
    with pytest.raises(ValueError, match=message):
        save_network(tmp_path / "n.npz", plain.architecture, tree)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_layers_do_not_fit_its_arrays_is_refused(tmp_path):
    path = tmp_path / "n.npz"
    plain, _ = random_network("wide")
    save_network(path, plain.architecture, plain.params)
    rewrite(path, lambda h, e: h["architecture"][1].update(name="layers_0"))
    with pytest.raises(ValueError, match=r"not a readable boolean network: layer 1.*reads 2"):
        load_network(path)


@pytest.mark.parametrize("value", [float("nan"), [1.0, float("-inf")], {"a": float("inf")}])
def test_numbers_that_json_lacks_are_refused_in_metadata(value, tmp_path):
    with pytest.raises(ValueError, match="metadata must be JSON, which has no"):
        save_network(tmp_path / "n.npz", (), {}, metadata={"score": value})
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_too_long_for_a_file_are_refused(tmp_path):
    name = "a" * 2**16
    one = BooleanNeurons(np.ones((1, 1), bool), np.zeros(1, bool), np.zeros(1, bool))
    with pytest.raises(ValueError, match=r"the name 'aaa.* is too long for a file"):
        save_network(tmp_path / "n.npz", (LUILayer(name),), {name: {"lui": one}})
    assert list(tmp_path.iterdir()) == []


def test_gaps_that_take_more_than_bits_are_refused(tmp_path):
    path = tmp_path / "n.npz"
    footprint = np.zeros((1000, 1), bool)
    footprint[[3, 500]] = True
    sparse = BooleanNeurons(footprint, np.zeros(1, bool), np.zeros(1, bool))
    save_network(path, (LUILayer("a"),), {"a": {"lui": sparse}})

    def with_all_set(header, entries):
        assert header["arrays"]["a/lui/footprint"]["encoding"] == "gaps"
        entries["a/lui/footprint"] = np.ones(1000, np.uint16)

    rewrite(path, with_all_set)
    with pytest.raises(ValueError, match="1000 gaps for 1000 elements"):
        load_network(path)
