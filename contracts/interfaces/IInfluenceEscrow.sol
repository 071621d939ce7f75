// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// solhint-disable no-empty-blocks

import {ICourtSteps} from "./ICourtSteps.sol";
import {IEscrowErrors} from "./IEscrowErrors.sol";
import {IEscrowEvents} from "./IEscrowEvents.sol";
import {IEscrowSteps} from "./IEscrowSteps.sol";
import {IEscrowViews} from "./IEscrowViews.sol";

/// @title Escrow of the Trustworthy Influence Protocol
/// @notice A buyer locks a budget; sellers commit encrypted valuations of their records, and each has reserved for it
/// what it can earn; the buyer attests the padded decryptions without knowing any value; sellers open their pads, which
/// fixes what each one's records cost. Whoever doubts the attestation posts a bond; the buyer must then publish the
/// order's key, and the contract decrypts the committed replies itself. Then each seller offers its records as an
/// encrypted file, shows its key for the buyer's acceptance, and is paid once the buyer has had time to verify every
/// record: one wrong record is proven here, a wrong value is ruled by the order's arbiter. This interface is the
/// specification. There is no owner, no protocol fee, no upgrade and no callback.
///
/// Phases of an order. In every phase but the last three the clock moves the order on if nobody does. Windows are half
/// open, `[from, to)`, and each begins when it is called for, so whoever is called upon in the last second of a window
/// has a whole one.
///
/// | phase       | window                        | who may act                                             |
/// |-------------|-------------------------------|---------------------------------------------------------|
/// | None        | before `open`                 | a buyer: open                                           |
/// | Submitting  | [openedAt, submitUntil)       | sellers: submit; buyer: reject, cancel                  |
/// | Attesting   | [submitUntil, attestUntil)    | buyer: attest                                           |
/// | Publishing  | [attestation, publishUntil)   | anyone: publishReply; buyer: answerReply                |
/// | Answering   | [publishUntil, answerUntil)   | buyer: answerReply                                      |
/// | Revealing   | [revealFrom, revealUntil)     | anyone who knows an opening: reveal                     |
/// | Challenging | [revealUntil, challengeUntil) | anyone: challenge                                       |
/// | Responding  | [challenge, respondUntil)     | anyone: drawIndices; the key's holder: revealKey        |
/// | Proving     | [key, proveUntil)             | anyone: proveReply, and reveal what a proof put right   |
/// | Delivering  | from finalFrom on             | each seller by itself, below; anyone: reclaim, settle   |
/// | Lost        | from a missed deadline on     | anyone: reclaim, settle                                 |
/// | Closed      | nobody to pay                 | anyone: reclaim                                         |
///
/// - An attestation ends Attesting. Publishing and Answering follow only if a value is UNAVAILABLE, Answering only if a
///   published reply is unanswered at publishUntil.
/// - `revealUntil = revealFrom + revealWindow`, or earlier, when the last number that can be revealed is.
/// - *Lost*: no attestation at attestUntil, a published reply unanswered at answerUntil, or no key that fits at
///   respondUntil. Bond and reserves burn.
/// - *Closed*: cancelled, or nobody submitted or everybody was rejected at submitUntil.
///
/// Delivery of one seller's records, from finalFrom on. W, V and R are deliveryWindow, contestWindow, rulingWindow.
///
/// | state     | who may act                                | until           | then by time                         |
/// |-----------|--------------------------------------------|-----------------|--------------------------------------|
/// | None      | seller: offer                              | finalFrom + W   | payout to the buyer                  |
/// | Offered   | buyer: accept, decline                     | offer + W       | Accepted                             |
/// | Accepted  | whoever knows the key: deliver             | acceptance + W  | payout and D to the buyer            |
/// | Declined  | –                                          | –               | declineShare of either side burned   |
/// | Delivered | anyone: complain; buyer: contest           | key + V         | payout to the seller, D back         |
/// | Contested | anyone: complain; arbiter: rule            | contest + R     | payout and C burned, D back          |
/// | Ruled     | –                                          | –               | by weight and outcome                |
/// | Convicted | –                                          | –               | payout, D and C to the buyer         |
interface IInfluenceEscrow is IEscrowSteps, ICourtSteps, IEscrowViews, IEscrowEvents, IEscrowErrors {}
