"""Writes a Java key store (JKS, of trusted certificates only) from a file of PEM certificates: cacerts.py PEM JKS

keytool would put the time of day into it. The format: a head, the certificates, and a SHA-1 over the password "changeit",
a fixed phrase and what stands before.
"""

import hashlib
import ssl
import struct
import sys


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def main(pem, jks):
    with open(pem, encoding="ascii") as file:
        parts = file.read().split("-----END CERTIFICATE-----")[:-1]
    certificates = sorted({ssl.PEM_cert_to_DER_cert(part[part.index("-----BEGIN"):] + "-----END CERTIFICATE-----") for part in parts})
    store = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for der in certificates:
        alias = hashlib.sha256(der).hexdigest()
        store += struct.pack(">I", 2) + text(alias) + struct.pack(">Q", 0) + text("X.509") + struct.pack(">I", len(der)) + der
    store += hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + store).digest()
    with open(jks, "wb") as file:
        file.write(store)


main(*sys.argv[1:])
