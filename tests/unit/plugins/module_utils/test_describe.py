# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils._describe import count_requests


@pytest.mark.parametrize(
    'stats, wanted',
    [
        ({'workers': [{'requests': 2}, {'requests': 3}]}, 5),
        ({'workers': [{'requests': 2}, {'requests': 'many'}]}, None),
        ({'workers': [{'requests': 10**8000}]}, None),
        ({'workers': [{'requests': -1}]}, None),
        ({'workers': [{'requests': True}]}, None),
        ({'workers': 'none'}, None),
        ({'workers': ['none']}, None),
        ({}, None),
    ],
)
def test_the_stats_of_an_application_are_no_more_than_its_word(stats, wanted):
    assert count_requests(stats) == wanted
