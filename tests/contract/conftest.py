"""Prints what the contract's cells cost, all workers together."""

import pytest


def pytest_terminal_summary(terminalreporter):
    """The sum of processor time over cells, and the dearest of them."""
    spent = {
        report.nodeid.split("::")[-1]: seconds
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, seconds in getattr(report, "user_properties", ())
        if name == "cell seconds"
    }
    if spent:
        dearest = sorted(spent, key=spent.get, reverse=True)[:3]
        told = ", ".join(f"{name} {spent[name]:.1f} s" for name in dearest)
        terminalreporter.write_line(
            f"contract: {len(spent)} cells, {sum(spent.values()):.0f} s of processor; {told}"
        )


@pytest.fixture(scope="session", autouse=True)
def warm():
    """What the first call of anything costs is no cell's."""
    from likeness.check.cell import truth
    from likeness.check.contract import verdicts

    verdicts(truth("reals2", "label"))
