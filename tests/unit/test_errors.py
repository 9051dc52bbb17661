"""Errors survive the way between processes and print what, where and what next."""

from __future__ import annotations

import pickle

import pytest

from contracts import errors


def every(cls=errors.SharderError):
    yield cls
    for sub in cls.__subclasses__():
        yield from every(sub)


@pytest.mark.parametrize("cls", sorted(set(every()), key=lambda c: c.__name__))
def test_every_error_survives_pickling(cls):
    error = cls("what happened", "what to do")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error)
    assert again.exit_code == error.exit_code


def test_a_transient_error_keeps_its_delay_and_an_input_error_its_place():
    assert pickle.loads(pickle.dumps(errors.Transient("slow down", "", 2.5))).after_s == 2.5
    assert (
        str(pickle.loads(pickle.dumps(errors.InputError("bad", "do", "a.yml:3:1"))))
        == "a.yml:3:1: bad\n  do"
    )


def test_a_missing_library_is_one_sentence_with_the_install_line():
    assert str(errors.missing_extra("boto3", "aws", "source 'aws'")) == (
        "source 'aws' needs the package 'boto3', which is not installed\n"
        "  install it with: pip install 'sharder[aws]'"
    )
