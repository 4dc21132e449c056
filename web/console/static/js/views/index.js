/** Every view, in the order in which the navigation names them. */

import overview from "./overview.js";

/** @type {import("../router.js").View[]} */
export const VIEWS = [overview];
