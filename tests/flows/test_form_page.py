"""The first run of a fresh `neurontune up`, submitted as a person does: from the form in Prefect's UI."""

import pytest
from headless import Browser
from running_machine import Machine, machine

__all__ = ["machine"]
pytestmark = [pytest.mark.services, pytest.mark.browser]
ENTER = "\ue007"


def click(browser: Browser, kind: str, text: str) -> None:
    """Click what shows a text, once it is there."""
    found = f"[...document.querySelectorAll('{kind}')].find((e) => e.innerText.trim() === '{text}')"
    browser.until(f"const found = {found}; found?.setAttribute('id', 'to-click'); return found")
    browser.click("#to-click")
    browser.run("document.querySelector('#to-click')?.removeAttribute('id')")


def test_a_first_submit_ends_in_a_run_whose_result_is_on_its_page(machine: Machine, browser: Browser) -> None:
    address = str(machine.api.base_url).removesuffix("/api/")
    browser.open(address)
    browser.until("return document.querySelector('input')")
    browser.type("input", machine.environment["PREFECT_API_AUTH_STRING"] + ENTER)
    browser.until("return location.pathname.endsWith('dashboard')")
    deployment = machine.api.get("/deployments/name/neurontune/neurontune").raise_for_status().json()["id"]
    browser.open(f"{address}/v2/deployments/deployment/{deployment}/run")
    click(browser, "button", "smollm2")
    click(browser, "[role=option]", "tiny")
    browser.until("return document.body.innerText.includes('tiny')")
    click(browser, "button", "Submit")
    browser.until("return !location.pathname.endsWith('/run')")
    (submitted,) = machine.post("/flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [deployment]}}})
    assert submitted["parameters"]["preset"] == "tiny" and not submitted["auto_scheduled"]
    machine.end_of(submitted["id"], "Completed")
    assert machine.api.get(f"/flow_runs/{submitted['id']}").json()["name"] == "llama · tiny"
    browser.open(f"{address}/v2/runs/flow-run/{submitted['id']}?tab=Artifacts")
    browser.until("return document.body.innerText.includes('SU-F1') && document.body.innerText.includes('results')")
    # what its maker's analytics would record is refused by the browser itself
    outside = (
        f"performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('{address}') && e.responseEnd)"
    )
    assert browser.run(f"return {outside}.filter((e) => e.transferSize).length") == 0


def test_automations_that_start_work_are_off(machine: Machine) -> None:
    found = {each["name"]: each["enabled"] for each in machine.post("/automations/filter", {})}
    assert not found.pop("evaluate a new alpha")
    assert found and all(found.values()), "those that mend or notify are on"
