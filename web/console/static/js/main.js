/** Where the page begins. */

import { companies, door } from "./doors.js";
import { createGathering } from "./events.js";
import { ageTimes } from "./format.js";
import { forgetNotices, notice } from "./notices.js";
import { wakeWithPage } from "./query.js";
import { startRelay, whenHappening } from "./relay/client.js";
import { createRouter, navigate } from "./router.js";
import { startSession } from "./session.js";
import { store } from "./store.js";
import { startShell } from "./ui/shell.js";
import { VIEWS } from "./views/index.js";
import { sandbox } from "./views/sandbox.js";

// The stand-ins' panel is there where they are.
const views = () => [...VIEWS, ...(store.get().config?.sandbox ? [sandbox] : []), companies];

async function start() {
  const shell = startShell(views);
  const router = createRouter({
    views,
    outlet: /** @type {HTMLElement} */ (document.getElementById("view")),
    instead: door,
    onShown: () => shell.arrived(),
  });
  router.show();
  store.subscribe(
    ({ session: { status, user, company, error } }) =>
      `${status} ${user?.id} ${company?.id} ${error?.title}`,
    (_, before) => {
      if (store.get().session.company && location.pathname.endsWith(companies.path)) {
        navigate("/");
      } else {
        // A page that has just been loaded is read from its beginning.
        router.show({ hasMoved: !before.startsWith("unknown") });
      }
    },
  );
  ageTimes();
  wakeWithPage();
  const gathering = createGathering();
  whenHappening({
    hear(events) {
      gathering.hear(events);
      notice(events);
    },
    forget() {
      gathering.forget();
      forgetNotices();
    },
  });
  await startSession();
  startRelay();
}

void start();
