// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {MockToken} from "../../contracts/mocks/MockToken.sol";
import {Ciphertexts} from "./Ciphertexts.sol";
import {DisputeTest} from "./DisputeTest.sol";
import {Records} from "./Records.sol";

/// @title Random steps on orders in coin and in a token
/// @dev Everybody is given what it posts, and spends nothing else: balances are what was paid.
contract Market is DisputeTest {
    uint256 public constant ORDERS = 2; // at a time
    uint256 public constant SELLERS = 3;
    uint32 private constant FEW = 10;

    MockToken public token;
    bytes32[] public ids;
    mapping(address token => uint256 amount) public paidIn;
    mapping(bytes32 id => mapping(address seller => bool)) public answered;
    mapping(bytes32 id => mapping(address seller => bytes32)) public atSettlement;
    mapping(bytes32 id => mapping(address seller => int256)) private truths;
    mapping(bytes32 id => mapping(address seller => Misdelivery)) private faults;
    mapping(string step => uint256) public counts;

    function start() external {
        setUp();
        token = new MockToken();
    }

    function escrowUnderTest() external view returns (IInfluenceEscrow) {
        return escrow;
    }

    function orders() external view returns (uint256) {
        return ids.length;
    }

    function sellersIn(bytes32 id) external view returns (address[] memory) {
        return sellersOf[id];
    }

    function parties() external view returns (address[9] memory) {
        return [buyer, arbiter, relayer, challenger, prover, BURN, sellerOf(0), sellerOf(1), sellerOf(2)];
    }

    function open(uint256 luck, bool inToken) public {
        if (ids.length >= ORDERS && escrow.orderOf(ids[ids.length - ORDERS]).held != 0) return;
        Terms memory terms = keyedTerms();
        terms.maxSellers = uint16(SELLERS);
        terms.rate = uint128(luck % 2.5 ether + 1);
        terms.answerFee = uint128((luck >> 16) % 1 ether);
        terms.publishFee = uint128((luck >> 32) % 1 ether);
        terms.challengeBond = uint128((luck >> 48) % 3 ether) + 1;
        terms.arbiterFee = uint128((luck >> 64) % 1 ether);
        terms.declineShare = uint16(500 + (luck >> 80) % 4501);
        terms.contestShare = uint16(1000 + (luck >> 96) % 9001);
        if (inToken) terms.token = address(token);
        ids.push(openWith(terms));
        pay(terms.token, depositOf(terms), "open");
    }

    function cancel(uint256 order) external {
        bytes32 id = known(order);
        if (!inPhase(id, Phase.Submitting) || sellersOf[id].length != 0 || order % 8 != 0) return;
        vm.prank(buyer);
        escrow.cancel(id);
    }

    function submit(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        if (!inPhase(id, Phase.Submitting) || escrow.submissionOf(id, who).submitted) return;
        Opening memory opening = openingOf(who, seller % 7 == 0 ? 3 : FEW);
        truths[id][who] = int256(uint256(keccak256(abi.encode(order, seller))) % uint256(20 * STEP)) - 3 * STEP;
        Commitments memory commitments = commitmentsOf(id, who, opening);
        commitments.replyHash = Ciphertexts.replyHash(c1, cellFor(padded(truths[id][who], opening)));
        submitWith(id, who, commitments, opening, FEW);
        ++counts["submit"];
    }

    function reject(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        if (!inPhase(id, Phase.Submitting) || !live(id, who)) return;
        rejectAs(id, who);
        ++counts["reject"];
    }

    function attest(uint256 order, uint256 luck) public {
        bytes32 id = known(order);
        if (!inPhase(id, Phase.Attesting)) return;
        uint64[] memory values = new uint64[](sellersOf[id].length);
        for (uint256 i = 0; i < values.length; ++i) {
            address who = sellersOf[id][i];
            uint256 kind = (luck >> (8 * i)) % 8;
            if (turnedAway[id][who] || kind == 0) values[i] = INVALID;
            else if (kind == 1) values[i] = UNAVAILABLE;
            else if (kind < 7) values[i] = truthOf(id, who);
            else values[i] = uint64((luck >> 24) % T);
        }
        attestRaw(id, values);
        ++counts["attest"];
    }

    function publish(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        if (!inPhase(id, Phase.Publishing) || !live(id, who)) return;
        SubmissionView memory entry = escrow.submissionOf(id, who);
        if (entry.published || entry.attested != UNAVAILABLE) return;
        publishAs(id, who, c1, cellFor(truthOf(id, who)));
        ++counts["publish"];
    }

    function answer(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        if (!inPhase(id, Phase.Publishing) && !inPhase(id, Phase.Answering)) return;
        SubmissionView memory entry = escrow.submissionOf(id, who);
        if (!entry.published || entry.attested != UNAVAILABLE) return;
        answered[id][who] = seller % 3 != 0;
        answerAs(id, who, answered[id][who] ? truthOf(id, who) : INVALID);
        ++counts["answer"];
    }

    function reveal(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        SubmissionView memory entry = escrow.submissionOf(id, who);
        if (!live(id, who) || entry.revealed || entry.attested >= T) return;
        bool reopened = inPhase(id, Phase.Proving) && entry.falsified;
        if (!inPhase(id, Phase.Revealing) && !reopened) return;
        revealAs(id, who);
        ++counts["reveal"];
    }

    function challenge(uint256 order) public {
        bytes32 id = known(order);
        if (!inPhase(id, Phase.Challenging)) return;
        challengeAs(id, challenger);
        pay(termsOf[id].token, termsOf[id].challengeBond, "challenge");
    }

    function respond(uint256 order, uint256 luck) public {
        bytes32 id = known(order);
        if (!inPhase(id, Phase.Responding) || luck % 4 == 0) return;
        if (luck % 8 == 1 && !escrow.disputeOf(id).drawn) {
            vm.roll(escrow.disputeOf(id).drawBlock + 10_000);
            escrow.drawIndices(id); // postpones
        }
        if (!escrow.disputeOf(id).drawn) drawFor(id);
        showKey(id);
        ++counts["key"];
    }

    function prove(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        if (!inPhase(id, Phase.Proving) || !live(id, who) || escrow.submissionOf(id, who).proven) return;
        proveWith(id, prover, who, c1, cellFor(truthOf(id, who)));
        assertEq(escrow.submissionOf(id, who).attested, truthOf(id, who));
        ++counts["prove"];
    }

    function offer(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        if (!inPhase(id, Phase.Delivering) || block.timestamp >= escrow.orderOf(id).offerUntil) return;
        if (!live(id, who) || stateOf(id, who) != DeliveryState.None) return;
        if (escrow.submissionOf(id, who).payout == 0) return;
        File memory file = fileOf(id, who);
        if (seller % 3 == 0) {
            bytes32[] memory all = cipherLeavesOf(id, who, FEW);
            all[1] = Records.cipherLeaf(1, "wrong");
            file.cipherTop = Records.top(all);
            bytes32[] memory leaves = leavesOf(who, FEW);
            faults[id][who] = Misdelivery(1, "wrong", Records.path(all, 1), leaves[1], Records.path(leaves, 1));
        }
        offerWith(id, who, file);
        pay(termsOf[id].token, escrow.deliveryOf(id, who).sellerBond, "offer");
    }

    function deliver(uint256 order, uint256 seller) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        DeliveryState state = stateOf(id, who);
        if (state == DeliveryState.Offered) {
            if (seller % 8 == 0) declineAs(id, who);
            else acceptAs(id, who);
            ++counts["accept"];
        } else if (state == DeliveryState.Accepted) {
            vm.warp(block.timestamp + 1);
            if (block.timestamp < escrow.deliveryOf(id, who).until) deliverAs(id, who);
            ++counts["deliver"];
        }
    }

    function judge(uint256 order, uint256 seller, uint256 luck) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        DeliveryState state = stateOf(id, who);
        bool due = block.timestamp < escrow.deliveryOf(id, who).until && !escrow.submissionOf(id, who).settled;
        if (!due || (state != DeliveryState.Delivered && state != DeliveryState.Contested)) return;
        if (luck % 3 == 0 && faults[id][who].leaf != 0) {
            complainWith(id, who, faults[id][who]);
            ++counts["complain"];
        } else if (state == DeliveryState.Delivered) {
            contestAs(id, who);
            pay(termsOf[id].token, escrow.deliveryOf(id, who).buyerBond, "contest");
        } else {
            ruleAs(id, who, (luck >> 8) % (escrow.submissionOf(id, who).weight + 1), Outcome(luck % 3));
            ++counts["rule"];
        }
    }

    function settle(uint256 order, uint256 seller, bool received) public {
        (bytes32 id, address who) = (known(order), sellerOf(seller % SELLERS));
        bool before = escrow.submissionOf(id, who).settled;
        vm.prank(received ? buyer : relayer);
        (bool done,) = address(escrow).call(abi.encodeCall(escrow.settle, (id, who, received ? bytes("x") : bytes(""))));
        if (!done) return;
        assertFalse(before, "paid twice");
        atSettlement[id][who] = fixedPart(id, who);
        ++counts["settle"];
    }

    function reclaim(uint256 order) public {
        bytes32 id = known(order);
        bool before = escrow.orderOf(id).reclaimed;
        if (!attempt(abi.encodeCall(escrow.reclaim, (id)))) return;
        assertFalse(before, "reclaimed twice");
        ++counts["reclaim"];
    }

    /// @dev Eight times what the phase asks for, or the next deadline: so that random runs get far.
    function play(uint256 order, uint256 seller, uint256 luck) external {
        for (uint256 i = 0; i < 8; ++i) {
            oneStep(order, seller % 1000 + i, uint256(keccak256(abi.encode(luck, i))));
        }
    }

    function oneStep(uint256 order, uint256 seller, uint256 luck) private {
        bytes32 id = known(order);
        Phase phase = escrow.phaseOf(id);
        bool fewer = ids.length < ORDERS && luck % 3 == 0;
        bool waits = (luck >> 128) % (phase == Phase.Delivering ? 24 : 6) == 0;
        if (phase == Phase.None || fewer || escrow.orderOf(id).held == 0) open(luck, luck % 2 == 0);
        else if (phase == Phase.Submitting && sellersOf[id].length < 2) submit(order, seller);
        else if (phase == Phase.Attesting && luck % 16 != 0) attest(order, luck >> 8);
        else if (waits) wait(order, luck >> 8);
        else if (phase == Phase.Submitting && luck % 16 == 0) reject(order, seller);
        else if (phase == Phase.Submitting) submit(order, seller);
        else if (phase == Phase.Publishing && luck % 2 == 0) publish(order, seller);
        else if (phase == Phase.Publishing || phase == Phase.Answering) answer(order, seller);
        else if (phase == Phase.Revealing) reveal(order, seller);
        else if (phase == Phase.Challenging && luck % 3 == 0) challenge(order);
        else if (phase == Phase.Challenging) wait(order, luck >> 8);
        else if (phase == Phase.Responding) respond(order, luck);
        else if (phase == Phase.Proving && luck % 3 == 0) reveal(order, seller);
        else if (phase == Phase.Proving) prove(order, seller);
        else if (phase == Phase.Delivering && luck % 4 == 1) offer(order, seller);
        else if (phase == Phase.Delivering && luck % 4 == 2) deliver(order, seller);
        else if (phase == Phase.Delivering && luck % 4 == 3) judge(order, seller, luck >> 8);
        else if (luck % 11 == 0) reclaim(order);
        else settle(order, seller, luck % 13 == 0);
    }

    /// @dev To a deadline of an order, to the second before it, or a little ahead.
    function wait(uint256 order, uint256 which) public {
        OrderView memory seen = escrow.orderOf(known(order));
        uint256[8] memory times = [
            uint256(seen.submitUntil),
            seen.attestUntil,
            seen.publishUntil,
            seen.answerUntil,
            seen.revealUntil,
            seen.respondUntil,
            seen.finalFrom,
            block.timestamp + (which % 4 == 0 ? 3 days : 10 minutes)
        ];
        for (uint256 i = 0; i < 8; ++i) {
            if (times[i] > block.timestamp) {
                vm.warp(times[i] - which % 2);
                return;
            }
        }
    }

    /// @dev Long after the last deadline: whatever can still be paid is.
    function finish() external {
        vm.warp(block.timestamp + 10 * 365 days);
        for (uint256 i = 0; i < ids.length; ++i) {
            settleAll(ids[i]);
        }
    }

    /// @dev What nothing may change once a seller is settled.
    function fixedPart(bytes32 id, address who) public view returns (bytes32) {
        return keccak256(abi.encode(escrow.submissionOf(id, who), escrow.deliveryOf(id, who)));
    }

    function stateOf(bytes32 id, address who) public view returns (DeliveryState) {
        return escrow.deliveryOf(id, who).state;
    }

    function truthOf(bytes32 id, address who) private view returns (uint64) {
        return padded(truths[id][who], openings[id][who]);
    }

    function pay(address token_, uint256 amount, string memory step) private {
        paidIn[token_] += amount;
        ++counts[step];
    }

    function live(bytes32 id, address who) private view returns (bool) {
        return escrow.submissionOf(id, who).submitted && !turnedAway[id][who];
    }

    function known(uint256 order) private view returns (bytes32) {
        uint256 count = ids.length < ORDERS ? ids.length : ORDERS;
        return count == 0 ? bytes32(0) : ids[ids.length - 1 - order % count];
    }

    function inPhase(bytes32 id, Phase phase) private view returns (bool) {
        return escrow.phaseOf(id) == phase;
    }
}
