"""TLS on the real socket: trust, client certificates, rotation by rename (security, part 4)."""

import contextlib
import datetime
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from services.helpers import options

from aster.v1 import server_service_pb2, server_service_pb2_grpc
from asteros.app import AsterOS
from asteros.errors import RefusedToStart

pytestmark = pytest.mark.anyio
NOW = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, folder: Path) -> dict[str, Path]:
        """Beside and renamed, as careful operators do it; the options that name the files."""
        folder.mkdir(exist_ok=True)
        for name, data in (("tls.key", self.key_pem), ("tls.crt", self.cert_pem)):
            beside = folder / f".{name}"
            beside.write_bytes(data)
            beside.chmod(0o600)
            beside.replace(folder / name)
        return {"tls_cert": folder / "tls.crt", "tls_key": folder / "tls.key"}


def issued(by: Pair | None = None, name: str = "ca", days: int = 36_500) -> Pair:
    """A certificate for 127.0.0.1; without an issuer an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return Pair(builder.sign(by.key if by else key, hashes.SHA256()), key)


@contextlib.asynccontextmanager
async def serving(folder: Path, **tls: Path) -> AsyncIterator[AsterOS]:
    house = AsterOS(options(folder, **tls))
    await house.start()
    try:
        yield house
    finally:
        await house.stop()


async def greeted(house: AsterOS, roots: Pair, client: Pair | None = None) -> str:
    """The server's name by a new connection: a handshake for every call."""
    credentials = grpc.ssl_channel_credentials(
        roots.cert_pem, client.key_pem if client else None, client.cert_pem if client else None
    )
    address, apart = f"127.0.0.1:{house.grpc_port}", (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.secure_channel(address, credentials, apart) as channel:
        stub = server_service_pb2_grpc.ServerServiceStub(channel)
        return (await stub.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=10)).server.name


async def no_handshake(house: AsterOS, roots: Pair, client: Pair | None = None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await greeted(house, roots, client)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_trust(tmp_path: Path) -> None:
    ours, other = issued(), issued(name="other")
    async with serving(tmp_path, **issued(ours, "server").write(tmp_path / "tls")) as house:
        assert await greeted(house, ours) == "AsterOS"
        await no_handshake(house, other)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{house.grpc_port}") as plain:
            stub = server_service_pb2_grpc.ServerServiceStub(plain)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=10)


async def test_expired_certificate(tmp_path: Path) -> None:
    ours = issued()
    async with serving(tmp_path, **issued(ours, "server", days=1).write(tmp_path / "tls")) as house:
        await no_handshake(house, ours)


async def test_client_certificates(tmp_path: Path) -> None:
    ours, clients = issued(), issued(name="clients")
    bundle = tmp_path / "clients.pem"
    bundle.write_bytes(clients.cert_pem)
    files = issued(ours, "server").write(tmp_path / "tls")
    async with serving(tmp_path, **files, tls_client_ca=bundle) as house:
        assert await greeted(house, ours, issued(clients, "ann")) == "AsterOS"
        await no_handshake(house, ours)
        await no_handshake(house, ours, issued(ours, "of the wrong authority"))


async def test_rotation_by_rename(tmp_path: Path) -> None:
    """The next handshake has the new certificate; the connection that is open stays."""
    before, after = issued(name="before"), issued(name="after")
    async with serving(tmp_path, **issued(before, "server").write(tmp_path / "tls")) as house:
        address = f"127.0.0.1:{house.grpc_port}"
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(before.cert_pem)) as open_one:
            stub = server_service_pb2_grpc.ServerServiceStub(open_one)
            await stub.GetServerInfo(server_service_pb2.GetServerInfoRequest())
            issued(after, "server").write(tmp_path / "tls")
            assert await greeted(house, after) == "AsterOS"
            await no_handshake(house, before)
            await stub.GetServerInfo(server_service_pb2.GetServerInfoRequest())


@pytest.mark.parametrize("broken", ["half done", "gone", "not PEM"])
async def test_rotation_that_is_not_finished(tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    """Between two renames the files do not fit together: the old pair stays in use (F30)."""
    before, after = issued(name="before"), issued(name="after")
    files = issued(before, "server").write(tmp_path / "tls")
    async with serving(tmp_path, **files) as house:
        if broken == "half done":
            files["tls_key"].write_bytes(issued(after, "server").key_pem)
        elif broken == "gone":
            files["tls_key"].unlink()
        else:
            files["tls_cert"].write_text("hello")
        for _ in range(2):
            assert await greeted(house, before) == "AsterOS"
        assert "the old certificate stays in use" in caplog.text
        issued(after, "server").write(tmp_path / "tls")
        assert await greeted(house, after) == "AsterOS"


BAD_FILES: dict[str, Any] = {
    "others may read the key": lambda files: files["tls_key"].chmod(0o644),
    "no certificate": lambda files: files["tls_cert"].unlink(),
    "no key": lambda files: files["tls_key"].unlink(),
    "a certificate that is none": lambda files: files["tls_cert"].write_text("hello"),
    "a key of another certificate": lambda files: files["tls_key"].write_bytes(issued().key_pem),
    "a client authority that is none": lambda files: files["tls_client_ca"].write_text("hello"),
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_refused_to_start(tmp_path: Path, name: str) -> None:
    ours = issued()
    files = issued(ours, "server").write(tmp_path / "tls")
    files["tls_client_ca"] = tmp_path / "clients.pem"
    files["tls_client_ca"].write_bytes(ours.cert_pem)
    BAD_FILES[name](files)
    with pytest.raises(RefusedToStart, match=r"tls\.(crt|key): "):
        await AsterOS(options(tmp_path, **files)).start()
