# -*- coding: utf-8 -*-
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import pytest
from ansible.module_utils.common.text.converters import to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import shortened, visible, visible_lines, visible_result, visible_text

BIDIRECTIONAL = u'\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'


@pytest.mark.parametrize(
    'raw, shown',
    [
        (u'Gr\xfc\xdfe \u7687\u5e1d \U0001f600\ta\\x1b', u'Gr\xfc\xdfe \u7687\u5e1d \U0001f600\ta\\x1b'),
        (u'\x00\x07\x08\x0b\x0c\r\x1b\x1f\x7f', u'\\x00\\x07\\x08\\x0b\\x0c\\x0d\\x1b\\x1f\\x7f'),
        (u'\x80\x85\x9b\x9f\xa0', u'\\x80\\x85\\x9b\\x9f\xa0'),
        (BIDIRECTIONAL, u''.join(u'\\u%04x' % ord(character) for character in BIDIRECTIONAL)),
        (u'\u2028\u2029', u'\\u2028\\u2029'),
        (b'\xff a \xc3\xa4 \xe4\xc3', u'\\xff a \xe4 \\xe4\\xc3'),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(raw, shown):
    assert visible(raw) == visible_text(raw) == to_native(shown)
    if not isinstance(raw, bytes):
        assert visible(raw.encode('utf-8')) == to_native(shown)


def test_lone_surrogates_are_escaped():
    lone = json.loads('"a\\ud800b\\udcffc"')
    assert visible(lone) == 'a\\ud800b\\xffc'
    # what Python makes of a byte of a log, of a path
    assert visible(to_native(b'a\xff', errors='surrogate_or_replace')) == 'a\\xff'


def test_line_feeds_part_lines_and_nothing_else_does():
    raw = u'a\nb\rc\x0bd\x85e\u2028f\n'
    assert visible(raw) == 'a\\x0ab\\x0dc\\x0bd\\x85e\\u2028f\\x0a'
    assert visible_text(raw) == 'a\nb\\x0dc\\x0bd\\x85e\\u2028f\n'
    assert visible_lines(raw) == ['a', 'b\\x0dc\\x0bd\\x85e\\u2028f']
    assert visible_lines(b'') == []


@pytest.mark.parametrize(
    'line, shown',
    [
        (u'RuntimeError: x' + u' ' * 3000 + u'demo: it did not come up', u'RuntimeError: x [3000 blanks] demo: it did not come up'),
        (u' ' * 41 + u'demo', u' [41 blanks] demo'),
        (u'\t' * 6 + u'demo', u' [48 blanks] demo'),
        (u' \t' * 20 + u'demo', u' [160 blanks] demo'),
        (u'a\t\tb', u'a [15 blanks] b'),
        (u'a\tb', u'a       b'),
        (u'a' + u' \u2800\xa0' * 3 + u'b', u'a [9 blanks] b'),
        (u'a' + (u' ' * 8 + u'\u200b') * 9 + u'b', u'a [81 blanks] b'),
        (u'a' + u'\u180b\ufff9\ue000' * 9 + u'b' + u'\u3164' * 10, u'a [27 blanks] b [10 blanks] '),
        (u' ' * 40 + u'^^^^        ^', u' ' * 40 + u'^^^^        ^'),
        (u'\xfc' * 500, u'\xfc' * 500),
        (u'\xfc' * 502, u'\xfc' * 500 + u'... [2 more characters]'),
    ],
)
def test_a_line_that_is_quoted_fills_no_screen(line, shown):
    assert shortened(to_native(line)) == to_native(shown)


def test_a_result_is_escaped_as_deep_as_it_goes():
    raw = dict(a=[u'\x1b', b'\xff', 1, None, True, (dict(b=u'\u202e\n'),)], c=0.5)
    shown = visible_result(raw)
    assert shown == dict(a=['\\x1b', '\\xff', 1, None, True, [dict(b='\\u202e\n')]], c=0.5)
    assert isinstance(to_text(json.dumps(shown), errors='strict'), type(u''))
