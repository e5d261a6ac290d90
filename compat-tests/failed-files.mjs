// A reporter that says nothing: it writes the files with failed tests into the file FAILED_FILES names, one a line, some
// several times. At once, as the runner may be told not to wait for its reporters (--test-force-exit).
import { appendFileSync } from 'node:fs';

export default async function* failedFiles(events) {
    for await (const { type, data } of events) {
        if (type === 'test:fail') appendFileSync(process.env.FAILED_FILES, `${data.file ?? data.name}\n`);
    }
}
