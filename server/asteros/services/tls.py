"""Server credentials that follow their files: a new certificate counts from the next handshake on."""

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

from asteros.errors import RefusedToStart

_log = logging.getLogger(__name__)


class HttpContext:
    """The same files for HTTP: read again before a handshake when they have changed."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._stamp = self._modified()
        self._fresh: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and newer, HTTP/1.1.

        :raises RefusedToStart:"""
        try:
            return self._context()
        except (OSError, ssl.SSLError):
            raise RefusedToStart(f"{self._cert}: not a certificate with the private key in {self._key}") from None

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key, password=lambda: "")
        if self._client_ca:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = self._before_handshake
        return context

    def _before_handshake(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        stamp = self._modified()
        if stamp != self._stamp:
            try:
                self._fresh = self._context()
            except (OSError, ssl.SSLError):
                _log.warning("the old certificate stays in use: %s cannot be read", self._cert)
            else:
                self._stamp = stamp
        if self._fresh is not None:
            connection.context = self._fresh

    def _modified(self) -> tuple[int, ...]:
        files = (self._cert, self._key, *((self._client_ca,) if self._client_ca else ()))
        return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


class TlsFiles:
    """Certificate, key and client authorities as files."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._stamp = self._modified()

    def credentials(self) -> grpc.ServerCredentials:
        """
        :raises RefusedToStart: a file cannot be read, or others may read the key."""
        if self._key.exists() and self._key.stat().st_mode & 0o077:
            raise RefusedToStart(f"{self._key}: others may read this private key; run: chmod 600 {self._key}")
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._fetch, require_client_authentication=self._client_ca is not None
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        try:
            pair = (self._key.read_bytes(), self._cert.read_bytes())
            roots = self._client_ca.read_bytes() if self._client_ca else None
            self._check()
        except ssl.SSLError:  # an OSError too
            raise RefusedToStart(
                f"{self._cert}: not a certificate in PEM with the private key in {self._key}, or its client authorities"
            ) from None
        except OSError as error:
            raise RefusedToStart(f"{error.filename}: {error.strerror}") from None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    def _check(self) -> None:
        """The core would say of bad files only that the port cannot be opened."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert, self._key, password=lambda: "")  # never asks the terminal
        if self._client_ca:
            context.load_verify_locations(self._client_ca)

    def _fetch(self) -> Any:
        """Called by gRPC before each handshake; None: nothing changed."""
        stamp = self._modified()
        if stamp == self._stamp:
            return None
        try:
            fresh = self._configuration()
        except RefusedToStart as error:
            _log.warning("the old certificate stays in use: %s", error)
            return None
        self._stamp = stamp
        _log.info("the certificate was read anew from %s", self._cert)
        return fresh

    def _modified(self) -> tuple[int, ...]:
        files = (self._cert, self._key, *((self._client_ca,) if self._client_ca else ()))
        return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)
