// The dashboard as somebody uses it: signs in, makes a token, sees the device come, its state arrive, and a rolled back
// one. hub/tests/hub/chromium.rs starts this beside a real hub and plays the device; the two speak in lines:
// here `{"step": …}` on standard output, there a word on standard input once it is done.
//
// JOS_URL, JOS_USER, JOS_PASSWORD   whom to ask, and as whom
// JOS_BROWSER_MODULES               the folder whose node_modules has playwright-core
// JOS_SCREENSHOTS                   a folder for pictures of every page, by width and colours; none when absent
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { chromium } = createRequire(`${process.env.JOS_BROWSER_MODULES}/`)("playwright-core");
const { JOS_URL: url, JOS_USER: user, JOS_PASSWORD: password, JOS_SCREENSHOTS: pictures } = process.env;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function step(name, more = {}) {
  console.log(JSON.stringify({ step: name, ...more }));
  const answer = await answers.next();
  if (answer.done) throw new Error(`the test ended at ${name}`);
  return answer.value;
}

const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath: process.env.JOS_CHROMIUM ?? "/usr/bin/chromium", args });
// The hub's CA is its own; that it is the right hub is proved by the tests in Rust.
const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1440, height: 900 } });
context.setDefaultTimeout(30_000);
const page = await context.newPage();
const wrong = [];
page.on("dialog", (dialog) => { wrong.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on("pageerror", (error) => wrong.push(`an error on ${page.url()}: ${error}`));
page.on("console", (said) => {
  // A refused form is told by its status, which the console repeats.
  if (said.type() === "error" && !/status of (400|403|404|409)/.test(said.text())) wrong.push(`${page.url()}: ${said.text()}`);
});

async function picture(name) {
  if (!pictures) return;
  for (const width of [390, 1440]) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${pictures}/${name}-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
}

// No page is wider than its window, on a phone neither.
async function fits(name) {
  for (const width of [320, 390, 768, 1440]) {
    await page.setViewportSize({ width, height: 900 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${name} is ${wide} wide in a window of ${width}`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

async function seen(name) {
  await fits(name);
  await picture(name);
}

await page.goto(`${url}/t/default`);
await seen("login");
await page.getByLabel("Name").fill(user);
await page.getByLabel("Password").fill("not the password");
await page.keyboard.press("Enter");
await page.getByRole("alert").getByText("do not fit").waitFor();
await page.getByLabel("Password").fill(password);
await page.keyboard.press("Enter");
await page.getByRole("heading", { name: "Welcome" }).waitFor();
await seen("first-run");
const cookie = (await context.cookies()).find((one) => one.name === "__Host-jos");
assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite], [true, true, "Strict"]);

// One click makes a token; the page sees the device come by itself.
await page.getByRole("button", { name: "Make a token" }).click();
const command = await page.locator("#command").textContent();
assert.match(command, /^jos agent enrol jos1-[\w-]+$/);
await page.getByText("No device has used it yet").waitFor();
await seen("token");
const device = await step("token", { line: command.split(" ").pop() });
await page.getByRole("link", { name: device }).click();
await page.getByText("not called yet").first().waitFor();

// Each of these comes without a click.
await step("watching");
await page.getByText("on its way").first().waitFor();
await seen("device-on-its-way");
await step("on its way");
await page.locator(".title").getByText("in step").waitFor();
await step("in step");
await page.locator(".title").getByText("failed").waitFor();
await page.getByText("the health check of portal failed").waitFor();
await seen("device-failed");

// Somebody wants to know more of it; what it tells comes by itself.
for (const [part, name] of [["log", "Ask for its log"], ["ledger", "Ask for its last records"], ["blame", "Ask its ledger"]]) {
  if (part === "blame") {
    await page.getByText("Ask about a path").click();
    await page.getByLabel("Path").fill("/etc/config/portal");
  }
  await page.getByRole("button", { name }).click();
  await page.locator(`[data-live=${part}]`).getByText("comes with its next call").waitFor();
}
await seen("device-asked");
await step("asked");
await page.locator("[data-live=log]").getByText("portal: agent 0.1.0 starts").waitFor();
await page.locator("[data-live=ledger]").getByText("state.apply").first().waitFor();
await page.locator("[data-live=blame]").getByText("stands").waitFor();
await seen("device-told");

// The keyboard alone: past the navigation, to a form, and through it.
await page.keyboard.press("Home");
await page.evaluate(() => { document.activeElement.blur(); window.scrollTo(0, 0); });
await page.keyboard.press("Tab");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
await page.keyboard.press("Enter");
assert.equal(await page.evaluate(() => document.activeElement.id), "main");
await page.getByText("Put it into quarantine").press("Enter");
await page.locator("[action$='/quarantine'] [name=reason]").fill("stolen van");
await page.keyboard.press("Enter");
await page.getByText("stolen van").first().waitFor();
await page.locator(".title").getByText("in quarantine").waitFor();
await seen("device-quarantined");
await step("quarantined");

// A fleet, some of whose devices call themselves scripts.
for (const [name, path] of [
  ["fleet", "/t/default"],
  ["devices", "/t/default/devices"],
  ["devices-found", "/t/default/devices?q=mx-3&standing=in-step"],
  ["states", "/t/default/states"],
  ["state", "/t/default/states/portal/2"],
  ["tokens", "/t/default/tokens"],
  ["enrol", "/t/default/enrol"],
  ["audit", "/t/default/audit"],
  ["users", "/users"],
  ["account", "/account"],
  ["not-found", "/t/default/devices/d-0"],
]) {
  await page.goto(url + path);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await seen(name);
}
// A token for a script of one's own: its line is there once, and it is gone by one click.
await page.goto(`${url}/t/default/api-tokens`);
await seen("api-tokens");
await page.getByLabel("Role").selectOption("operator");
await page.getByLabel("Name").fill("nightly report");
await page.getByLabel("Your password").fill(password);
await page.getByRole("button", { name: "Make a token" }).click();
const secret = await page.locator("#line").textContent();
assert.match(secret, /^josapi1-[\w-]+$/);
assert.ok((await page.locator("#ask").textContent()).includes(`--url ${url} --token-file`));
await seen("api-token-made");
await page.goto(`${url}/t/default/api-tokens`);
const own = page.locator("tr", { hasText: "nightly report" });
await own.getByText("good", { exact: true }).waitFor();
assert.ok(!(await page.content()).includes(secret));
await own.getByRole("button", { name: "Revoke" }).click();
await own.getByText("revoked", { exact: true }).waitFor();
await seen("api-token-revoked");

for (const evil of JSON.parse(await step("evil"))) {
  await page.goto(`${url}/t/default/devices/${evil}`);
  await page.getByText("<script>").first().waitFor();
  await seen("device-evil");
}
assert.equal(await page.evaluate(() => document.querySelectorAll("main script, main img, main style").length), 0);
assert.equal(await page.evaluate(() => window.reached), undefined);

// A rollout goes through its first phase, and halts by itself; nobody clicks.
const rollout = await step("rollout");
await page.goto(`${url}/t/default/rollouts/${rollout}`);
await page.locator(".title").getByText("under way").waitFor();
// The fleet page has it among those under way, and follows it as well.
const overview = await context.newPage();
await overview.goto(`${url}/t/default`);
const underWay = overview.locator("[data-live=rollouts]");
await underWay.getByRole("link", { name: "portal 3" }).waitFor();
await underWay.getByText("under way", { exact: true }).waitFor();
await step("under way");
await underWay.getByText("halted by itself").waitFor();
await overview.close();
await page.locator(".title").getByText("halted by itself").waitFor();
await page.getByText("Devices that failed").waitFor();
await seen("rollout-halted");
await page.goto(`${url}/t/default`);
await page.locator("[data-live=rollouts]").getByText("halted by itself").waitFor();
await seen("fleet-rollout");
await page.goto(`${url}/t/default/rollouts`);
await seen("rollouts");

await page.goto(`${url}/account`);
await page.getByRole("button", { name: "Sign out" }).click();
await page.getByRole("heading", { name: "Sign in" }).waitFor();
await page.goto(`${url}/t/default`);
await page.getByRole("heading", { name: "Sign in" }).waitFor();

assert.deepEqual(wrong, []);
await browser.close();
console.log(JSON.stringify({ step: "done" }));
process.exit(0);
