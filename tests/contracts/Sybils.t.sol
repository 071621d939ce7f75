// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MockWallet} from "../../contracts/mocks/MockWallet.sol";
import {IInfluenceEscrow} from "../../contracts/interfaces/IInfluenceEscrow.sol";
import {DisputeTest} from "./DisputeTest.sol";
import {Signing} from "./Signing.sol";

/// @dev One honest seller (index 0) among 127 addresses of one owner: what the crowd can take, and what it cannot.
contract SybilsTest is DisputeTest {
    uint256 private constant SELLERS = 128;
    int256 private constant VALUE = 1_000_000;

    /// @dev The buyer's own crowd claims the largest value and records that count, truthfully encrypted.
    function test_127SybilsDiluteAnHonestSellerToItsShareAndNeverTakeItsFee() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        bytes32 id = toChallengingWith(terms, int256(uint256(terms.valueCap)), int256(uint256(terms.valueCap)));
        uint256 before = buyer.balance;
        settle(id);
        uint256 honest = uint256(VALUE) * 100;
        uint256 crowd = 127 * uint256(terms.valueCap) * 100;
        uint256 share = terms.budget * honest / (honest + crowd);
        assertEq(sellerOf(0).balance, share + terms.answerFee);
        uint256 crowdsGain = buyer.balance - before;
        for (uint256 i = 1; i < SELLERS; ++i) {
            crowdsGain += sellerOf(i).balance;
        }
        uint256 costs = depositOf(terms) - crowdsGain;
        assertEq(costs, share + terms.answerFee, "buyer and crowd together pay the honest seller, and nobody else");
    }

    /// @dev Fee farming: a crowd with worthless values earns the answer fees, and nothing of the budget.
    function test_127WorthlessSybilsEarnNothingButTheirFees() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        bytes32 id = toChallengingWith(terms, 0, 0);
        uint256 before = buyer.balance;
        settle(id);
        assertEq(sellerOf(0).balance, terms.budget + terms.answerFee);
        for (uint256 i = 1; i < SELLERS; ++i) {
            assertEq(sellerOf(i).balance, terms.answerFee);
        }
        assertEq(buyer.balance - before, terms.bond, "no more than the fees that the buyer offered");
    }

    /// @dev The buyer raises all 127 by false values: one honest seller proves them all, and gets the whole budget.
    function test_127SybilsWithFalseValuesLoseTheBondAndTheBudget() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        bytes32 id = toChallengingWith(terms, 0, int256(uint256(terms.valueCap)));
        vm.deal(sellerOf(0), terms.challengeBond);
        challengeAs(id, sellerOf(0));
        drawFor(id);
        showKey(id);
        for (uint256 i = 1; i < SELLERS; ++i) {
            proveTruth(id, sellerOf(0), i, 0);
        }
        uint256 before = buyer.balance;
        settle(id);
        uint256 reward = uint256(terms.bond) / 2 / 127;
        uint256 earned = sellerOf(0).balance - terms.challengeBond;
        assertEq(earned, terms.budget + terms.answerFee + 127 * reward);
        assertEq(BURN.balance, terms.bond - 127 * reward, "at least half the bond burns");
        assertEq(buyer.balance - before, 0);
    }

    /// @dev The crowd challenges and proves its own false values before the honest seller can: half the bond burns still.
    function test_127SybilsThatProveTheirOwnFalseValuesLoseHalfTheBond() public {
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        bytes32 id = toChallengingWith(terms, 0, int256(uint256(terms.valueCap)));
        challengeAs(id, challenger);
        drawFor(id);
        showKey(id);
        for (uint256 i = 1; i < SELLERS; ++i) {
            proveTruth(id, challenger, i, 0);
        }
        settle(id);
        assertGe(BURN.balance, terms.bond / 2);
        assertEq(sellerOf(0).balance, terms.budget + terms.answerFee);
        assertLe(challenger.balance, 1000 ether + terms.bond / 2);
    }

    /// @dev A buyer that is a contract wallet does all that is asked of a buyer: attests by ERC-1271, answers a published
    /// reply by a call of its own, and is paid back.
    function test_AContractWalletBuysAttestsAnswersAndIsPaidBack() public {
        (address owner, uint256 ownerKey) = makeAddrAndKey("owner");
        MockWallet wallet = new MockWallet(owner);
        IInfluenceEscrow.Terms memory terms = keyedTerms();
        vm.deal(address(wallet), depositOf(terms));
        terms.buyer = address(wallet);
        bytes32 id = abi.decode(
            wallet.execute(address(escrow), depositOf(terms), abi.encodeCall(escrow.open, (terms, 0))), (bytes32)
        );
        submitTruth(id, list(100, 300));
        vm.warp(escrow.orderOf(id).submitUntil);
        attestFor(id, ownerKey);
        assertPhase(id, IInfluenceEscrow.Phase.Publishing);
        bytes7 cell = replyOf(sellerOf(1), 300);
        escrow.publishReply(id, sellerOf(1), c1, cell);

        uint64 answer = padded(300, openingOf(sellerOf(1)).pad);
        bytes memory call = answerCall(id, sellerOf(1), answer);
        vm.prank(owner);
        (bool done,) = address(escrow).call(call);
        assertFalse(done, "the wallet is the buyer, not its owner");
        wallet.execute(address(escrow), 0, call);
        assertEq(escrow.submissionOf(id, sellerOf(1)).attested, answer);

        vm.warp(escrow.orderOf(id).publishUntil);
        revealAs(id, sellerOf(0));
        revealAs(id, sellerOf(1));
        settle(id);
        assertEq(sellerOf(1).balance, 76 ether);
        assertEq(address(wallet).balance, terms.bond + 6 * uint256(terms.answerFee));
    }

    /// @dev The first seller's value is 100, the second one's reply is missing.
    function attestFor(bytes32 id, uint256 ownerKey) private {
        uint64[] memory values = new uint64[](2);
        (values[0], values[1]) = (padded(100, openingOf(sellerOf(0)).pad), UNAVAILABLE);
        bytes32 submissions = escrow.orderOf(id).submissionsHash;
        bytes memory signature = Signing.attestation(ownerKey, address(escrow), id, submissions, values);
        vm.prank(relayer);
        escrow.attestBySignature(id, submissions, values, noTags, 0, signature);
    }

    function answerCall(bytes32 id, address seller, uint64 value) private view returns (bytes memory) {
        return abi.encodeCall(escrow.answerReply, (id, seller, value, 0));
    }

    /// @dev 128 sellers submit; the replies of all but the first encrypt `crowds`, the buyer says `said` of them.
    function toChallengingWith(IInfluenceEscrow.Terms memory terms, int256 crowds, int256 said)
        private
        returns (bytes32 id)
    {
        terms.maxSellers = uint16(SELLERS);
        int256[] memory truth = new int256[](SELLERS);
        int256[] memory claimed = new int256[](SELLERS);
        for (uint256 i = 0; i < SELLERS; ++i) {
            (truth[i], claimed[i]) = i == 0 ? (VALUE, VALUE) : (crowds, said);
        }
        id = toChallenging(terms, truth, claimed);
    }
}
