// What scripts share: run every named scenario, and print as JSON what each gave or how it failed.
export async function report(scenarios) {
  const said = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    try {
      said[name] = {gave: await scenario()};
    } catch (error) {
      said[name] = {threw: {name: error.name, status: error.status, message: error.message}};
    }
  }
  console.log(JSON.stringify(said));
}

const RUNNING = new Set(['JOB_STATE_PENDING', 'JOB_STATE_RUNNING']);

// Polls as the documentation does, only faster.
export async function finished(ai, job) {
  do {
    await new Promise((resolve) => setTimeout(resolve, 20));
    job = await ai.batches.get({name: job.name});
  } while (RUNNING.has(job.state));
  return job;
}
