// A job by golem-js: SOVR_TEST_JOB says what to do, standard output what came of each task, in a line of JSON.
//
// The runtime is an option of the order; the package is a file here, which golem-js serves and names by its hash.

const path = require("node:path");
const { GolemNetwork } = require("@golem-sdk/golem-js");

const job = JSON.parse(process.env.SOVR_TEST_JOB);

async function work(exe) {
  for (let task = 0; task < job.tasks; task++) {
    const fetched = path.join(job.output, String(task));
    const results = await exe
      .beginBatch()
      .uploadFile(job.input, job.send_to)
      .run(job.program, job.arguments)
      .downloadFile(job.fetch_from, fetched)
      .end();
    const failed = results.find((result) => result.result !== "Ok");
    if (failed || results.length !== 3) {
      throw new Error(`task ${task}: ${JSON.stringify(failed ?? results)}`);
    }
    console.log(JSON.stringify({ task, stdout: String(results[1].stdout ?? ""), fetched }));
  }
}

async function main() {
  const glm = new GolemNetwork({ payment: { network: "holesky" } });
  // The invoice is accepted after the rental is finalized, and after that it is too late to ask.
  const accepted = new Promise((resolve, reject) => {
    glm.payment.events.on("invoiceAccepted", resolve);
    glm.payment.events.on("errorAcceptingInvoice", ({ error }) => reject(error));
  });
  try {
    await glm.connect();
    const rental = await glm.oneOf({
      order: {
        demand: {
          subnetTag: job.subnet,
          workload: { runtime: { name: job.runtime }, imageUrl: `file://${job.package}` },
        },
        market: {
          rentHours: 0.25,
          pricing: { model: "linear", maxStartPrice: 1, maxCpuPerHourPrice: 100, maxEnvPerHourPrice: 100 },
        },
      },
    });
    await work(await rental.getExeUnit());
    await rental.stopAndFinalize();
    await accepted;
  } finally {
    await glm.disconnect();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
