"""A signature covers everything in a bundle: who holds another key, or changes a byte, is refused."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile

import pytest

from regkd_edge.bundle import deploy, make_bundle, read_archive, write_archive
from regkd_edge.bundle.archive import read_contents, unpack
from regkd_edge.errors import RunFolderError, UserError

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")


def write_keys(folder, name, kind=None):
    """A private and a public key as OpenSSL writes them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = (kind or Ed25519PrivateKey.generate)()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    plain = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=plain)
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"), "mine")


@pytest.fixture(scope="module")
def signed(run, keys, tmp_path_factory):
    return make_bundle(run, "desktop", tmp_path_factory.mktemp("signed") / "demo.tar.gz", key=keys[0])[0]


def repack(path, target, change):
    """The same archive with members changed: ``change(name, data)`` gives the new data, or None to leave it out."""
    with gzip.open(target, "wb") as packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        with tarfile.open(path) as old:
            for member in old:
                data = change(member.name, old.extractfile(member).read())
                if data is not None:
                    info = tarfile.TarInfo(member.name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return target


def test_a_signed_bundle_is_deployed_and_says_by_which_key(signed, keys, tmp_path):
    done = deploy(signed, tmp_path / "there", backends=["native"], samples=10, warmup=1, verify=keys[1])
    assert done.passed and "verified" in done.notes[0]
    again = deploy(tmp_path / "there", backends=["native"], samples=10, warmup=1, verify=keys[1])  # the folder, later
    assert "verified" in again.notes[0]
    unsure = deploy(signed, tmp_path / "other", backends=["native"], samples=10, warmup=1)
    assert "--verify" in unsure.notes[0] and "verified" not in unsure.notes[0]


STRANGE = ["state.json", "x.npy", "teacher/source.py", "engines/native.fp32/engine.onnx", "onnx/weights.bin", "LIST"]


@pytest.mark.parametrize("name", STRANGE)
def test_a_folder_with_a_file_that_is_not_listed_is_refused(signed, keys, tmp_path, name):
    unpack(signed, tmp_path / "there")
    content = json.dumps({"format": 1, "stages": {}}) if name == "state.json" else "anything"
    (tmp_path / "there" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "there" / name).write_text(content)
    for given in (tmp_path / "there", signed):
        with pytest.raises(RunFolderError, match=f"holds '{name}', which the signed bundle does not list"):
            deploy(given, tmp_path / "there", backends=["native"], verify=keys[1])
    assert (tmp_path / "there" / name).read_text() == content


@pytest.mark.parametrize("name, target", [("bench", "."), ("engines/native.int8/engine.rkdn", "../native.fp32/same")])
def test_a_folder_with_a_link_is_refused(signed, keys, tmp_path, name, target):
    folder = tmp_path / "there"
    unpack(signed, folder)
    if (folder / name).is_file():  # the link leads to the very content that is listed
        (folder / name).rename((folder / name).parent / target)
    (folder / name).symlink_to(target)
    with pytest.raises(RunFolderError, match=rf"holds .*'{name}'.*, which the signed bundle does not list"):
        deploy(folder, backends=["native"], verify=keys[1])


def test_engines_that_lie_in_a_folder_before_are_not_believed(signed, keys, tmp_path):
    folder = tmp_path / "there"
    unpack(signed, folder)
    planted = ("engines/onnxruntime.fp32/engine.onnx", "engines/tensorrt.fp32/a/b", "bench/x.json", "timing.cache")
    for name in planted:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("planted")
    done = deploy(folder, backends=["native"], samples=10, warmup=1, verify=keys[1])
    assert done.passed and "4 files of an earlier deployment removed" in " ".join(done.notes)
    assert not any((folder / name).exists() for name in planted) and not (folder / "engines/tensorrt.fp32").exists()


def test_an_unsigned_bundle_says_so_and_is_refused_where_a_signature_is_asked_for(bundle, keys, tmp_path):
    with pytest.raises(RunFolderError, match="is not signed"):
        deploy(bundle, tmp_path / "there", backends=["native"], verify=keys[1])
    assert not (tmp_path / "there").exists()
    done = deploy(bundle, tmp_path / "there", backends=["native"], samples=10, warmup=1)
    assert "not signed" in done.notes[0]


def test_another_key_is_refused(signed, tmp_path):
    _, public = write_keys(tmp_path, "other")
    with pytest.raises(RunFolderError, match="not signed by the key"):
        deploy(signed, tmp_path / "there", backends=["native"], verify=public)
    assert not (tmp_path / "there").exists()


def test_the_allowances_are_under_the_signature(signed, keys, tmp_path):
    def allow_anything(name, data):
        if name != "bundle.json":
            return data
        content = json.loads(data)
        for graph in content["graphs"].values():
            graph["allowed"] = [1e99] * len(graph["allowed"])
        return json.dumps(content).encode()

    forged = repack(signed, tmp_path / "forged.tar.gz", allow_anything)
    with pytest.raises(RunFolderError, match="changed after it was signed"):
        deploy(forged, tmp_path / "there", backends=["native"], verify=keys[1])
    # and without a key they are compared with what the bundle's own answers justify
    with pytest.raises(RunFolderError, match="its answers justify at most"):
        deploy(forged, tmp_path / "unverified", backends=["native"])


def test_a_changed_file_is_refused_by_the_list_that_is_signed(signed, keys, tmp_path):
    forged = repack(signed, tmp_path / "forged.tar.gz", lambda name, data: data + b"#" if name == "run.yaml" else data)
    with pytest.raises(RunFolderError, match=r"run\.yaml"):
        deploy(forged, tmp_path / "there", backends=["native"], verify=keys[1])


@pytest.mark.parametrize("signature", [b"", b"{}", b'{"format": 1, "algorithm": "none"}', b"\xff" * 50])
def test_a_signature_that_is_none_is_refused(signed, keys, tmp_path, signature):
    forged = repack(signed, tmp_path / "forged.tar.gz", lambda name, data: signature if name == "bundle.sig" else data)
    with pytest.raises(RunFolderError, match=r"bundle\.sig"):
        deploy(forged, tmp_path / "there", backends=["native"], verify=keys[1])
    assert not (tmp_path / "there").exists()


def test_signing_twice_is_the_same_bytes(run, signed, keys, tmp_path):
    again, _ = make_bundle(run, "desktop", tmp_path / "again.tar.gz", key=keys[0])
    assert again.read_bytes() == signed.read_bytes() and read_contents(again).signature is not None


def test_a_key_that_is_none_is_refused_with_how_to_make_one(run, keys, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    other, _ = write_keys(tmp_path, "x25519", X25519PrivateKey.generate)
    (tmp_path / "text.pem").write_text("no key")
    for key in (tmp_path / "absent.pem", tmp_path / "text.pem", keys[1], other):
        with pytest.raises(UserError) as error:
            make_bundle(run, "desktop", tmp_path / "b.tar.gz", key=key)
        assert "openssl genpkey" in error.value.remedy
    assert not (tmp_path / "b.tar.gz").exists()


def test_code_of_a_plan_is_never_run_because_a_bundle_says_so(bundle, tmp_path, monkeypatch):
    content, files = read_archive(bundle)
    files["run.yaml"] = files["run.yaml"].replace(b"bench:\n", b"bench:\n  run_code_of_plan: true\n")
    assert b"run_code_of_plan: true" in files["run.yaml"]
    header = {key: value for key, value in content.items() if key not in ("format", "files")}
    write_archive(tmp_path / "b.tar.gz", header, files)
    asked = []
    module = sys.modules["regkd_edge.bundle.deploy"]  # the package has a function of that name
    real = module.api.bench
    asks = lambda *a, **k: asked.append(k["config"].run_code_of_plan) or real(*a, **k)
    monkeypatch.setattr(module.api, "bench", asks)
    deploy(tmp_path / "b.tar.gz", tmp_path / "there", backends=["native"], samples=10, warmup=1)
    assert asked == [False]
