// Microsoft's Graph client for JavaScript, with msal-node.
"use strict";

const assert = require("node:assert/strict");
const { Client, PageIterator, BatchRequestContent, BatchResponseContent } = require("@microsoft/microsoft-graph-client");
const { sandbox, token, step, conform } = require("./steps.cjs");

const graph = Client.init({
  baseUrl: sandbox.graph,
  defaultVersion: "v1.0",
  customHosts: new Set(["localhost"]),
  authProvider: (done) =>
    token("https://graph.microsoft.com/.default").then(
      (text) => done(null, text),
      (error) => done(error, null),
    ),
});
const me = `/users/${sandbox.user}`;
const IMMUTABLE = 'IdType="ImmutableId"';

const anEvent = (subject, day) => ({
  subject,
  start: { dateTime: `2026-11-0${day}T09:00:00`, timeZone: "Europe/Berlin" },
  end: { dateTime: `2026-11-0${day}T10:00:00`, timeZone: "Europe/Berlin" },
  body: { contentType: "html", content: "<p>As agreed.</p>" },
  location: { displayName: "Site 7" },
  showAs: "tentative",
});

/** All items from a page on, by the client's own iterator. */
async function all(page) {
  const items = [];
  const iterator = new PageIterator(graph, page, (item) => items.push(item) > 0);
  await iterator.iterate();
  return { items, deltaLink: iterator.getDeltaLink() };
}

const refused = (status, code) => (error) => {
  assert.equal(error.statusCode, status);
  assert.equal(error.code, code);
  return true;
};

async function main() {
  await step("users: get, list by pages", async () => {
    assert.equal((await graph.api(me).get()).mail, sandbox.user);
    const { items } = await all(await graph.api("/users").select("id,displayName").top(10).get());
    assert.ok(items.length > 20);
  });

  let made;
  await step("event: create, get in its zone", async () => {
    made = await graph.api(`${me}/events`).header("Prefer", IMMUTABLE).post(anEvent("Boiler", 2));
    const seen = await graph
      .api(`${me}/events/${made.id}`)
      .header("Prefer", `${IMMUTABLE}, outlook.timezone="Europe/Berlin"`)
      .get();
    assert.equal(seen.id, made.id);
    assert.equal(seen.start.dateTime.slice(0, 16), "2026-11-02T09:00");
  });

  await step("event: update with its etag, be refused with the old one", async () => {
    const one = () => graph.api(`${me}/events/${made.id}`).header("If-Match", made["@odata.etag"]);
    assert.equal((await one().patch({ subject: "Boiler, moved" })).subject, "Boiler, moved");
    await assert.rejects(one().patch({ subject: "Too late" }), refused(412, "ErrorIrresolvableConflict"));
  });

  await step("$batch: three creates and one that fails", async () => {
    const batch = new BatchRequestContent();
    for (const day of [3, 4, 5]) {
      batch.addRequest({
        id: `${day}`,
        request: new Request(`${sandbox.graph}/v1.0${me}/events`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(anEvent(`N${day}`, day)),
        }),
      });
    }
    batch.addRequest({ id: "bad", request: new Request(`${sandbox.graph}/v1.0${me}/events/none`, { method: "GET" }) });
    const content = await batch.getContent();
    for (const part of content.requests) {
      part.url = part.url.replace(/^.*\/v1\.0/, ""); // the client leaves the version in an absolute address
    }
    const answer = new BatchResponseContent(await graph.api("/$batch").post(content));
    for (const day of [3, 4, 5]) {
      assert.equal((await answer.getResponseById(`${day}`).json()).subject, `N${day}`);
    }
    assert.equal(answer.getResponseById("bad").status, 400);
  });

  await step("events: list with $filter, $orderby, $top and pages", async () => {
    const page = await graph
      .api(`${me}/events`)
      .filter("start/dateTime ge '2026-11-03T00:00:00'")
      .orderby("start/dateTime desc")
      .select("subject")
      .top(2)
      .get();
    const { items } = await all(page);
    assert.deepEqual(items.map((item) => item.subject), ["N5", "N4", "N3"]);
  });

  const window = { startDateTime: "2026-11-01T00:00:00Z", endDateTime: "2026-11-30T00:00:00Z" };
  await step("calendarView", async () => {
    const { items } = await all(await graph.api(`${me}/calendarView`).query(window).top(3).get());
    assert.equal(items.length, 4);
  });

  await step("calendarView/delta: a full round by pages, then what has changed", async () => {
    const first = await graph
      .api(`${me}/calendarView/delta`)
      .query(window)
      .header("Prefer", `${IMMUTABLE}, odata.maxpagesize=2`)
      .get();
    const round = await all(first);
    assert.equal(round.items.length, 4);
    await graph.api(`${me}/events/${made.id}`).delete();
    const next = await graph.api(round.deltaLink).header("Prefer", IMMUTABLE).get();
    assert.deepEqual(
      next.value.map((item) => item["@removed"]),
      [{ reason: "deleted" }],
    );
    assert.ok(next["@odata.deltaLink"]);
    await assert.rejects(graph.api(`${me}/events/${made.id}`).get(), refused(404, "ErrorItemNotFound"));
  });

  await step("series: create, its instances, one of them cancelled", async () => {
    const series = await graph.api(`${me}/events`).post({
      ...anEvent("Jour fixe", 2),
      recurrence: {
        pattern: { type: "weekly", interval: 1, daysOfWeek: ["monday"] },
        range: { type: "numbered", startDate: "2026-11-02", numberOfOccurrences: 3 },
      },
    });
    const year = { startDateTime: "2026-01-01T00:00:00Z", endDateTime: "2026-12-31T00:00:00Z" };
    const found = await graph.api(`${me}/events/${series.id}/instances`).query(year).get();
    assert.deepEqual(found.value.map((item) => item.start.dateTime.slice(8, 10)), ["02", "09", "16"]);
    await graph.api(`${me}/events/${found.value[1].id}`).delete();
    const left = await graph.api(`${me}/events/${series.id}/instances`).query(year).get();
    assert.equal(left.value.length, 2);
    await graph.api(`${me}/events/${series.id}`).delete();
  });

  await step("getSchedule, places, mailboxSettings", async () => {
    const answer = await graph.api(`${me}/calendar/getSchedule`).post({
      schedules: [sandbox.user],
      startTime: { dateTime: "2026-11-03T09:00:00", timeZone: "Europe/Berlin" },
      endTime: { dateTime: "2026-11-03T11:00:00", timeZone: "Europe/Berlin" },
      availabilityViewInterval: 60,
    });
    assert.equal(answer.value[0].availabilityView, "10");
    assert.equal((await graph.api("/places/microsoft.graph.room").get()).value.length, 2);
    assert.equal((await graph.api(`${me}/mailboxSettings`).get()).userPurpose, "user");
  });

  await step("extended property and open extension: write, expand", async () => {
    const id = "String {66f5a359-4659-4830-9070-00040ec6ac6e} Name Conformance";
    const event = await graph.api(`${me}/events`).post({
      ...anEvent("Marked", 6),
      singleValueExtendedProperties: [{ id, value: "8" }],
      extensions: [{ "@odata.type": "microsoft.graph.openTypeExtension", extensionName: "com.contoso.x", a: 1 }],
    });
    const seen = await graph
      .api(`${me}/events/${event.id}`)
      .expand(`singleValueExtendedProperties($filter=id eq '${id}')`)
      .get();
    assert.equal(seen.singleValueExtendedProperties[0].value, "8");
    assert.equal((await graph.api(`${me}/events/${event.id}/extensions/com.contoso.x`).get()).a, 1);
  });

  await step("subscription: create with its validation, be told of an event, get, renew, delete", async () => {
    const ends = (hours) => new Date(Date.now() + hours * 3600e3).toISOString();
    const kept = await graph.api("/subscriptions").post({
      changeType: "created,updated,deleted",
      notificationUrl: sandbox.receiver,
      resource: `users/${sandbox.user}/events`,
      expirationDateTime: ends(2),
      clientState: "conformance",
    });
    const one = `/subscriptions/${kept.id}`;
    const told = await graph.api(`${me}/events`).post(anEvent("Told", 7));
    let heard = [];
    for (let turn = 0; turn < 100 && heard.length === 0; turn += 1) {
      await new Promise((done) => setTimeout(done, 100));
      heard = (await (await fetch(sandbox.receiver)).json()).filter((item) => item.resourceData.id === told.id);
    }
    assert.equal(heard[0]?.clientState, "conformance");
    assert.equal(heard[0].subscriptionId, kept.id);
    const renewed = await graph.api(one).patch({ expirationDateTime: ends(4) });
    assert.ok(renewed.expirationDateTime > kept.expirationDateTime);
    assert.equal((await graph.api(one).get()).resource, kept.resource);
    await graph.api(one).delete();
    await assert.rejects(graph.api(one).get(), refused(404, "ResourceNotFound"));
  });
}

conform(main, "@microsoft/microsoft-graph-client", "@azure/msal-node");
