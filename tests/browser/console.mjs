// The console as somebody uses it: takes the tour, submits a job and sees it end, installs an agent, replays, adds a
// schedule, runs the evaluations. agent/tests/console/chromium.rs starts this beside a real node.
//
// JOS_URL               the address that the console printed, with its token
// JOS_DATA              the node's data directory
// JOS_BROWSER_MODULES   the folder whose node_modules has playwright-core
// JOS_SCREENSHOTS       a folder for pictures of every page, by width and colours; none when absent
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.env.JOS_BROWSER_MODULES}/`)("playwright-core");
const { JOS_URL: opened, JOS_DATA: data, JOS_SCREENSHOTS: pictures } = process.env;
const url = new URL(opened).origin;

const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath: process.env.JOS_CHROMIUM ?? "/usr/bin/chromium", args });
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
context.setDefaultTimeout(30_000);
const page = await context.newPage();
const wrong = [];
page.on("dialog", (dialog) => { wrong.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on("pageerror", (error) => wrong.push(`an error on ${page.url()}: ${error}`));
page.on("console", (said) => {
  if (said.type() === "error" && !/status of (400|401|403|404)/.test(said.text())) wrong.push(`${page.url()}: ${said.text()}`);
});

// No page is wider than its window; a picture of it by width and colours.
async function seen(name) {
  for (const width of [320, 390, 768, 1440]) {
    await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) {
      const first = await page.evaluate((width) => [...document.querySelectorAll("main *")].findLast((one) => one.getBoundingClientRect().right > width)?.outerHTML.slice(0, 120), width);
      wrong.push(`${name} is ${wide} wide in a window of ${width}: ${first}`);
    }
    if (!pictures || (width !== 390 && width !== 1440)) continue;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${pictures}/console-${name}-${width}-${colorScheme}.png`, fullPage: true });
    }
    await page.emulateMedia({ colorScheme: "light" });
  }
}

await page.goto(`${url}/?token=wrong`);
await page.getByRole("heading", { name: "Who is there?" }).waitFor();
await seen("stranger");

await page.goto(opened);
await page.getByRole("heading", { name: "Welcome" }).waitFor();
assert.ok(!page.url().includes("token"), "the token leaves the address");
const cookie = (await context.cookies()).find((one) => one.name.startsWith("jos-console-"));
assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
assert.equal(await page.evaluate(() => document.cookie), "");
await page.getByText("a node runs").first().waitFor();
await seen("first-run");

// The tour, by the keyboard alone.
await page.getByRole("link", { name: "Take the tour" }).press("Enter");
for (let step = 2; step <= 9; step += 1) {
  await page.locator("#tour").getByText(`${step - 1} of 9`).waitFor();
  if (step === 2) await seen("tour");
  await page.locator("#tour").getByRole("link").press("Enter");
}
await page.locator("#tour").getByRole("button", { name: "Done" }).press("Enter");
await page.locator(".title").getByText("a node runs").waitFor();
assert.equal(await page.locator("#tour").count(), 0);

// A job is submitted, and its end comes without a click.
await page.goto(`${url}/jobs`);
await page.getByLabel("Input").fill("not JSON");
await page.getByRole("button", { name: "Submit" }).click();
await page.getByRole("alert").getByText("expected JSON").waitFor();
await page.getByLabel("Input").fill('{"note": "<img src=x onerror=window.reached=1>"}');
await page.getByLabel("Id").fill("first");
await page.getByRole("button", { name: "Submit" }).click();
await page.getByRole("heading", { name: "first" }).waitFor();
await page.locator(".title").getByText("done").waitFor();
await page.getByText("<img src=x").first().waitFor();
await seen("job");

// While a page is open, what happens elsewhere comes.
await page.goto(`${url}/machine`);
writeFileSync(`${data}/inbox/live.json`, '{"id": "live", "agent": "advance", "input": {"events": ["start", "block"]}}');
await page.locator("[data-live=log]").getByText("live").waitFor();
await seen("machine");

// An agent is installed from a file, is asked, and removed; a broken one is refused with the reason.
await page.goto(`${url}/agents`);
const install = page.locator("#install-agent");
await install.locator("input[type=file]").setInputFiles({ name: "broken.jos", mimeType: "application/json", buffer: Buffer.from("{") });
await install.getByRole("button", { name: "Install the agent" }).click();
await page.getByRole("alert").waitFor();
const greeter = {
  id_jos: "greeter",
  orchestration_contract: { version: "0.0.7" },
  meta: { name: "Greeter", description: "<script>window.reached=1</script>" },
  orchestration: { definitions: { greet: { type: "prompt", prompt: "ACCEPT {{input.name}}" } }, flows: { main: { steps: ["greet"] } } },
};
await install.locator("input[type=file]").setInputFiles({ name: "greeter.jos", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(greeter)) });
await install.getByRole("button", { name: "Install the agent" }).click();
await page.getByRole("status").getByText("Agent greeter is installed").waitFor();
await page.getByText("<script>window").waitFor();
writeFileSync(`${data}/tools/bad.json`, "{");
await page.getByText("tools/bad.json").first().waitFor();
await seen("agents");
await page.goto(`${url}/jobs`);
await page.getByLabel("Agent").selectOption("greeter");
await page.getByLabel("Input").fill('{"name": "Ana"}');
await page.getByLabel("Id").fill("greeted");
await page.getByRole("button", { name: "Submit" }).click();
await page.locator(".title").getByText("done").waitFor();
await page.getByRole("heading", { name: "The model" }).waitFor();
await page.goto(`${url}/agents`);
await page.locator("[data-live=broken] summary").first().click();
await page.getByRole("button", { name: "Remove tools/bad.json" }).click();
await page.getByRole("status").getByText("is removed").waitFor();

// One that reads and writes what it was granted, and one that fails: nothing waits for it.
for (const agent of ["inventory", "reviewer"]) writeFileSync(`${data}/inbox/${agent}-1.json`, JSON.stringify({ id: `${agent}-1`, agent, input: {} }));
await page.goto(`${url}/jobs/reviewer-1`);
await page.locator(".title").getByText("failed").waitFor();
await page.goto(`${url}/harness`);
await page.locator("#audit").getByText("artifacts/inventory.txt").waitFor();

// What a tool gave is captured: one that counts bytes.
const counter = {
  id_jos: "counter",
  orchestration_contract: { version: "0.0.7" },
  orchestration: { definitions: { say: { type: "prompt", prompt: "seven oaks", propose: [{ kind: "tally.add", payload: { of: "{{reply}}" } }] } }, flows: { main: { steps: ["say"] } } },
};
writeFileSync(`${data}/agents/counter.jos`, JSON.stringify(counter));
writeFileSync(`${data}/inbox/counter-1.json`, JSON.stringify({ id: "counter-1", agent: "counter", input: {} }));
await page.goto(`${url}/jobs/counter-1`);
await page.locator(".title").getByText("done").waitFor();
await page.getByText('{"bytes":10}').first().waitFor();

// One click replays all of it.
await page.goto(`${url}/replay`);
await page.getByRole("button", { name: "Replay now" }).click();
await page.getByText("reproduced", { exact: true }).waitFor();
const facts = await page.locator(".facts").first().textContent();
assert.match(facts, /Byte-identicalyes.*Model calls0/);
await page.locator("section", { has: page.getByRole("heading", { name: "Captured results" }) }).getByText("tally.add").waitFor();
await seen("replay");

// The decision log, newest first, a page at a time; and what comes while it is open.
for (let more = 1; more <= 20; more += 1) writeFileSync(`${data}/inbox/more-${more}.json`, JSON.stringify({ id: `more-${more}`, agent: "advance", input: {} }));
await page.getByRole("link", { name: "Browse the decision log" }).click();
await page.getByRole("heading", { name: "Decision log" }).waitFor();
const newest = page.locator("[data-live=records] tbody tr");
await newest.getByText("more-20").first().waitFor();
await seen("log");
const numbers = async () => (await newest.locator(".id").allTextContents()).map((text) => Number(text.slice(1)));
const first = await numbers();
assert.equal(first.length, 50);
await page.getByRole("link", { name: "Older" }).click();
await page.getByRole("link", { name: "Newest" }).waitFor();
const older = await numbers();
assert.deepEqual(older, Array.from(older, (_, at) => older[0] - at), "each record once, newest first");
assert.ok(older[0] < first[0] && older[0] >= first.at(-1) - 1, `${older[0]} goes on behind ${first.at(-1)}`);
while (await page.getByRole("link", { name: "Older" }).count()) {
  const at = page.url();
  await page.getByRole("link", { name: "Older" }).click();
  await page.waitForURL((now) => now.href !== at);
}
await newest.getByText("a node began").first().waitFor();
await page.goto(`${url}/`);
await page.locator("[data-live=throughput]").getByText(/jobs in the last hour/).waitFor();

// A schedule comes, rests, and goes.
await page.goto(`${url}/schedules`);
await page.getByLabel("Name").fill("beat");
await page.getByLabel("Seconds, cron").fill("3600");
await page.getByRole("button", { name: "Add" }).click();
await page.getByRole("status").getByText("beat is added").waitFor();
await page.getByRole("button", { name: "Disable beat" }).click();
await page.getByRole("button", { name: "Enable beat" }).waitFor();
await seen("schedules");
await page.getByRole("button", { name: "Remove beat" }).click();
await page.getByRole("status").getByText("beat is removed").waitFor();

await page.goto(`${url}/evals`);
await page.getByRole("button", { name: "Run all" }).click();
await page.locator("[data-live=running]").getByText("passed").waitFor({ timeout: 120_000 });
await seen("evals");

for (const [name, path] of [["overview", "/"], ["jobs", "/jobs"], ["harness", "/harness"], ["help", "/help"], ["not-found", "/jobs/none"]]) {
  await page.goto(url + path);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await seen(name);
}
// A question mark answers to the keyboard.
await page.goto(`${url}/harness`);
await page.getByRole("button", { name: "What is an access?" }).focus();
assert.ok(await page.getByText("through its hands").isVisible());

// Another site, with the browser's cookies at hand.
const other = await context.newPage();
await other.route("http://evil.test/", (route) => route.fulfill({ contentType: "text/html", body: `<form method="post" action="${url}/jobs"><input name="agent" value="advance"><input name="input" value="{}"><input name="id" value="stolen"></form>` }));
await other.goto("http://evil.test/");
await other.evaluate(() => document.forms[0].submit());
await other.getByRole("heading", { name: /Who is there|Not allowed/ }).waitFor();
await page.goto(`${url}/jobs/stolen`);
await page.getByRole("heading", { name: "Not found" }).waitFor();

assert.equal(await page.evaluate(() => window.reached), undefined);
assert.deepEqual(wrong, []);
await browser.close();
