"""Xet."""

from tests.hub.web import Router

router = Router()
cas = Router()
