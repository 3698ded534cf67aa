# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

.PHONY: help demo demo-clean test test-old test-systemd test-lint test-sanity test-unit molecule benchmark benchmark-runs matrix

help: ## say what there is (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo: ## two applications on a throw-away Debian container, answering through nginx (SUITE=trixie or bookworm)
	@SUITE="$(SUITE)" demo/run

demo-clean: ## remove the demo's container
	@demo/clean

test: ## the tests, on Debian 11, 12 and 13
	@tests/run molecule lint sanity unit

test-old: ## the tests of old hosts: the migration, and Debian 8
	@# one after the other: of the migration it is measured for how long nobody answers
	@SCENARIO=migrate tests/run molecule
	@SCENARIO=jessie tests/run molecule

test-systemd: ## the tests of applications that systemd supervises itself
	@SCENARIO=systemd tests/run molecule

test-lint: ## yamllint, ansible-lint, shellcheck
	@tests/run lint

test-sanity: ## ansible-test sanity, ansible-core 2.16 and the newest that runs here
	@tests/run sanity

test-unit: ## unit tests, Python 3 and 2.7
	@tests/run unit

molecule: ## scenarios in containers (SCENARIO=default, hostile, attacks, units, migrate, jessie, systemd, or several)
	@SCENARIO="$(SCENARIO)" tests/run molecule

benchmark: ## measures restarts, starts and many applications on Debian 13; writes .cache/benchmark.md
	@tests/run benchmark

benchmark-runs: ## measures runs of the role beside a plain playbook that does the same; writes .cache/benchmark-runs.md
	@tests/run runs

matrix: ## unit tests and the module in containers, by each ansible-core on each Python at hand, and with the newest uWSGI; writes .cache/matrix.md
	@tests/run matrix
