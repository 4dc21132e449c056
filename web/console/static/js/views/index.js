/** Every view, in the order in which the navigation names them. */

import { alerts, operatorsAlerts } from "./alerts.js";
import { analytics } from "./analytics.js";
import { breaks, oneBreak } from "./breaks.js";
import dispute from "./dispute.js";
import disputes from "./disputes.js";
import { delivery, endpoint } from "./endpoint.js";
import { endpoints } from "./endpoints.js";
import health from "./health.js";
import { imports, oneImport } from "./imports.js";
import { invariants } from "./invariants.js";
import invoice from "./invoice.js";
import invoices from "./invoices.js";
import { letter, letters } from "./letters.js";
import { mails } from "./mails.js";
import methods from "./methods.js";
import { module } from "./module.js";
import { modules } from "./modules.js";
import overview from "./overview.js";
import payment from "./payment.js";
import payments from "./payments.js";
import { payout, payouts } from "./payouts.js";
import { people } from "./people.js";
import { reconciliation, reconciliations } from "./reconciliations.js";
import { report, reports, schedules } from "./reports.js";
import { reviews } from "./reviews.js";
import subscription from "./subscription.js";
import subscriptions from "./subscriptions.js";
import { event, events } from "./webhooks.js";

/** @type {import("../router.js").View[]} */
export const VIEWS = [
  overview,
  payments,
  payment,
  invoices,
  invoice,
  subscriptions,
  subscription,
  analytics,
  reports,
  report,
  schedules,
  methods,
  modules,
  module,
  disputes,
  dispute,
  alerts,
  letters,
  letter,
  operatorsAlerts,
  reviews,
  events,
  event,
  mails,
  reconciliations,
  reconciliation,
  breaks,
  oneBreak,
  payouts,
  payout,
  imports,
  oneImport,
  invariants,
  people,
  endpoints,
  endpoint,
  delivery,
  health,
];
