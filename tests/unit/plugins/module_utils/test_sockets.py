# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import socket
import threading

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _sockets


@pytest.fixture
def served(tmp_path):
    """Called with parts, it returns the address of a socket that says them to whoever connects, and then nothing more until the test ends."""
    address = str(tmp_path / 'stats')
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(1)
    over = threading.Event()
    threads = []

    def serve(parts, hang=False):
        def run():
            connection = listener.accept()[0]
            try:
                for part in parts:
                    connection.sendall(part)
                if hang:
                    over.wait(60)
            except (IOError, OSError):
                pass  # nobody listens any more
            connection.close()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return address

    yield serve
    over.set()
    for thread in threads:
        thread.join()
    listener.close()


def document(*parts):
    return (('{"pid": %d, "workers": ' % os.getpid()).encode(),) + parts + (b'}',)


def test_the_stats_of_a_process_are_its_own(served):
    assert _sockets.read_stats(served(document(b'[]')), os.getpid()) == {'pid': os.getpid(), 'workers': []}


def test_a_number_of_many_digits_is_none(served):
    assert _sockets.read_stats(served(document(b'1' * 100000)), os.getpid()) == {'pid': os.getpid(), 'workers': None}


def test_stats_of_another_process_are_none(served):
    assert _sockets.read_stats(served(document(b'[]')), 1) is None


def test_stats_without_an_end_are_left_after_a_time_for_all_of_them(served, monkeypatch):
    """Each part comes in time, and the clock goes on by a second with each: no single wait is long."""
    now = [0.0]

    def clock():
        now[0] += 1
        return now[0]

    monkeypatch.setattr(_sockets, '_monotonic', clock)
    assert _sockets.read_stats(served([b' ' * 100000] * 100), os.getpid()) is None
    assert now[0] < 10


def test_stats_without_an_end_are_left_at_a_size(served, monkeypatch):
    monkeypatch.setattr(_sockets, '_STATS', 1 << 20)
    assert _sockets.read_stats(served([b' ' * 100000] * 100), os.getpid()) is None


def test_stats_that_are_not_finished_are_none(served, monkeypatch):
    monkeypatch.setattr(_sockets, '_STATS_TIME', 0.2)
    assert _sockets.read_stats(served([b'{'], hang=True), os.getpid()) is None


@pytest.mark.parametrize('text', [b'[' * 200000, b'{"a":' * 200000, b'[' * 200000 + b']' * 200000, b'nonsense'])
def test_stats_that_are_no_document_are_none(served, text):
    assert _sockets.read_stats(served(document(text)), os.getpid()) is None


@pytest.mark.parametrize(
    'answer, status',
    [
        (b'HTTP/1.1 200 OK\r\n\r\n', 200),
        (b'HTTP/1.0 404\r\n', 404),
        (b'HTTP/1.1 ' + b'9' * 8000 + b' OK\r\n', None),
        (b'HTTP/1.1 2000\r\n', None),
        (b'HTTP/1.1 20\r\n', None),
        (b'HTTP/1.1', None),
        (b'', None),
    ],
)
def test_a_status_has_three_digits(answer, status):
    connection = object.__new__(_sockets.Connection)
    connection.answer = answer
    assert connection.status == status


def test_who_holds_a_socket_is_found_by_its_path(tmp_path):
    path = str(tmp_path / 'a.socket')
    assert _sockets.listener(path) is None and _sockets.holders(path, [os.getpid()]) == []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1)
    assert _sockets.listener(path) == os.getpid() and _sockets.holders(path, [1, os.getpid()]) == [os.getpid()]
    # any user can have thousands of processes with thousands of files
    assert len(_sockets.holders(path, [os.getpid()] * 5000)) == 10
    assert _sockets.holders(path, [os.getpid()], seconds=-1) == []
    listener.close()
    assert _sockets.listener(path) is None and _sockets.holders(path, [os.getpid()]) == []
