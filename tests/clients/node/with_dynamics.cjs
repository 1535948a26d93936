// dynamics-web-api, the most used community client of the Dataverse Web API, with msal-node.
"use strict";

const assert = require("node:assert/strict");
const { DynamicsWebApi } = require("dynamics-web-api");
const { sandbox, token, step, conform } = require("./steps.cjs");

const dataverse = new DynamicsWebApi({
  serverUrl: sandbox.dataverse,
  dataApi: { version: "9.2" },
  onTokenRefresh: () => token(`${sandbox.dataverse}/.default`),
});
const collection = "bookableresourcebookings";

async function main() {
  let booking;
  await step("functions: WhoAmI", async () => {
    const me = await dataverse.callFunction("WhoAmI");
    assert.match(me.OrganizationId, /^[0-9a-f-]{36}$/);
  });

  await step("rows: query by filter, by pages", async () => {
    const people = await dataverse.retrieveAll({ collection: "bookableresources", select: ["name"] });
    const first = await dataverse.retrieveMultiple({
      collection: "bookableresources",
      select: ["name"],
      maxPageSize: 10,
      count: true,
    });
    assert.equal(first.value.length, 10);
    assert.ok(first.oDataNextLink);
    const second = await dataverse.retrieveMultiple({ collection: "bookableresources" }, first.oDataNextLink);
    assert.notEqual(second.value[0].bookableresourceid, first.value[0].bookableresourceid);
    const alice = people.value.find((row) => row.name === "Alice Anderson").bookableresourceid;
    const status = await dataverse.retrieveMultiple({
      collection: "bookingstatuses",
      select: ["name"],
      filter: "name eq 'Committed'",
    });
    booking = {
      name: "Boiler",
      starttime: "2026-11-02T09:00:00Z",
      endtime: "2026-11-02T10:00:00Z",
      duration: 60,
      bookingtype: 1,
      "Resource@odata.bind": `/bookableresources(${alice})`,
      "BookingStatus@odata.bind": `/bookingstatuses(${status.value[0].bookingstatusid})`,
    };
  });

  let id;
  let etag;
  await step("row: create, read with a lookup, update", async () => {
    id = await dataverse.create({ collection, data: booking });
    const row = await dataverse.retrieve({
      collection,
      key: id,
      select: ["name", "starttime"],
      expand: [{ property: "Resource", select: ["name"] }],
    });
    etag = row["@odata.etag"];
    assert.equal(row.Resource.name, "Alice Anderson");
    const seen = await dataverse.update({
      collection,
      key: id,
      data: { name: "Boiler, moved" },
      returnRepresentation: true,
      ifmatch: etag,
    });
    assert.equal(seen.name, "Boiler, moved");
  });

  await step("row: update and delete with an old etag do nothing", async () => {
    assert.equal(await dataverse.update({ collection, key: id, data: { name: "Late" }, ifmatch: etag }), false);
    assert.equal(await dataverse.deleteRecord({ collection, key: id, ifmatch: etag }), false);
    const row = await dataverse.retrieve({ collection, key: id, select: ["name"] });
    assert.equal(row.name, "Boiler, moved");
  });

  await step("row: upsert what exists and what does not, and only the one or the other", async () => {
    const fresh = "00000000-0000-4000-8000-00000000c0de";
    await dataverse.upsert({ collection, key: fresh, data: { ...booking, name: "Upserted" } });
    await dataverse.upsert({ collection, key: fresh, data: { name: "Upserted again" } });
    const row = await dataverse.retrieve({ collection, key: fresh, select: ["name"] });
    assert.equal(row.name, "Upserted again");
    assert.equal(
      await dataverse.upsert({ collection, key: fresh, data: { name: "Never" }, ifnonematch: "*" }),
      null,
    );
    await dataverse.deleteRecord({ collection, key: fresh });
    assert.equal(
      await dataverse.upsert({ collection, key: fresh, data: { name: "Never" }, ifmatch: "*" }),
      null,
    );
  });

  await step("$batch: a change set and a read behind it", async () => {
    dataverse.startBatch();
    dataverse.create({ collection, data: { ...booking, name: "B1" }, contentId: "1", inChangeSet: true });
    dataverse.create({ collection, data: { ...booking, name: "B2" }, contentId: "2", inChangeSet: true });
    dataverse.retrieveMultiple({ collection, select: ["name"], filter: "startswith(name,'B')" });
    const [first, second, found] = await dataverse.executeBatch();
    assert.match(first, /^[0-9a-f-]{36}$/);
    assert.match(second, /^[0-9a-f-]{36}$/);
    assert.deepEqual(found.value.map((row) => row.name).sort(), ["B1", "B2", "Boiler, moved"]);
    for (const key of [first, second]) {
      await dataverse.deleteRecord({ collection, key });
    }
  });

  await step("change tracking: a first round, then what was changed and deleted", async () => {
    const round = await dataverse.retrieveMultiple({ collection, select: ["name"], trackChanges: true });
    assert.ok(round.oDataDeltaLink);
    await dataverse.deleteRecord({ collection, key: id });
    const next = await dataverse.retrieveMultiple({ collection }, round.oDataDeltaLink);
    assert.deepEqual(
      next.value.map((row) => row.id),
      [id],
    );
    assert.equal(next.value[0].reason, "deleted");
  });

  await step("row: what was deleted is not found", async () => {
    await assert.rejects(dataverse.retrieve({ collection, key: id }), (error) => {
      assert.equal(error.status, 404);
      assert.equal(error.code, "0x80040217");
      return true;
    });
  });
}

conform(main, "dynamics-web-api", "@azure/msal-node");
