"""A signature over a release, made with a key of one's own and checked offline: model.sig, and model.pub beside it.

    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    python -m model_card.build RUN_DIR --sign-key key.pem

Format: model-signing (OpenSSF Model Signing), https://github.com/sigstore/model-transparency. A reader checks it with

    hf download ORG/NAME --local-dir NAME
    model_signing verify key NAME --signature NAME/model.sig --public_key KEY --ignore-paths NAME/.cache

where KEY comes from a place that the reader trusts: model.pub in the same repository only shows that nothing was damaged on
the way. In .cache the download keeps its notes; files that were not signed are refused.
"""

import importlib.util
from pathlib import Path

from command import UserError
from run_folder import whole_file

INSTALL = "pip install -r requirements-signing.txt"
MAKE = "Make one: openssl ecparam -name prime256v1 -genkey"
CURVES = ("secp256r1", "secp384r1", "secp521r1")  # those that model-signing takes


def sign(release: Path, key: Path) -> bool:
    """Sign every file of the release; False where it holds this key's valid signature already. UserError for a bad key."""
    public = check_key(key)
    if is_signed(release, public):
        return False
    import model_signing

    for name in ("model.sig", "model.pub"):
        (release / name).unlink(missing_ok=True)
    with whole_file(release / "model.pub", "wb") as stream:
        stream.write(public)
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=key)
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=[release / "model.sig"])
    config.set_hashing_config(hashing).sign(release, release / "model.sig")
    return True


def check_key(key: Path) -> bytes:
    """The key's public half, PEM. UserError, before anything is written, for what nothing could be signed with."""
    check_installed()
    return public_half(key)


def check_installed() -> None:
    """UserError where the packages for signing are missing; they are needed for nothing else."""
    missing = [name for name in ("model_signing", "OpenSSL") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--sign-key needs {' and '.join(missing)}, which is not installed: {INSTALL}")


def public_half(key: Path) -> bytes:
    """The public key of a private one, PEM. UserError if the file is no private key of CURVES without a password."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except FileNotFoundError:
        raise UserError(f"--sign-key {key} is missing. {MAKE}") from None
    except IsADirectoryError:
        raise UserError(f"--sign-key {key} is a folder. Give the file of a private key. {MAKE}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"--sign-key {key} is not a private key in PEM without a password: {error}") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise UserError(f"--sign-key {key} is no elliptic-curve key. {MAKE}")
    if private.curve.name not in CURVES:
        raise UserError(f"--sign-key {key} lies on {private.curve.name}, not on {', '.join(CURVES)}. {MAKE}")
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def is_signed(release: Path, public: bytes) -> bool:
    """Whether the release holds a signature of this key over exactly these files."""
    import model_signing
    from cryptography.exceptions import InvalidSignature

    place = release / "model.pub"
    if not place.is_file() or not (release / "model.sig").is_file() or place.read_bytes() != public:
        return False
    try:
        model_signing.verifying.Config().use_elliptic_key_verifier(public_key=place).verify(
            release, release / "model.sig"
        )
    except (ValueError, KeyError, TypeError, InvalidSignature):  # KeyError, TypeError: no signature at all
        return False
    return True
