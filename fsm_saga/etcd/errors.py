"""Every error of the etcd client, and which of etcd's answers means which.

The tree, by what the caller may believe:

    EtcdError
      UnknownOutcomeError          a write may or may not have been applied, or still will be
        NoSpaceError               the quota is reached; see the class
      EtcdUnavailableError         no endpoint answered a read; nothing was to be written
      NothingWrittenError          refused for certain: nothing was written, and nothing will be
        NotSentError               it never left us
        CompactedError             the revision is gone: list again
        FutureRevisionError        the revision is not there yet
        LeaseNotFoundError         the lease has ended
        LeaseExistsError           the id is taken
        TooLargeError              the request has too many bytes
        TooManyOperationsError     the transaction has too many operations
        DuplicateKeyError          one transaction writes a key twice
        UnauthenticatedError       the user, the password or the token is not accepted
        PermissionDeniedError      the user may not do this
        OverloadedError            etcd has too much to do: wait
        ClusterCorruptError        etcd found its members to differ: a person must look
        FenceLostError             the leader's key is no longer ours: stop at once
        ForeignClusterError        who answers is of another cluster
        InvalidRequestError        anything else that etcd does not accept
      LeaseLostError               our lease is over, by our own clock or by etcd's word
"""

from __future__ import annotations

from fsm_saga.errors import FsmSagaError


class EtcdError(FsmSagaError):
    """Base of every error of the etcd client."""

    code = "etcd-error"


class UnknownOutcomeError(EtcdError):
    """A write was sent and no answer came: it may be applied, now or seconds later, or never.

    To read that it is absent proves nothing: a member that was paused can still pass it on. Send
    a transaction whose comparisons fail once the first has been applied.
    """

    code = "etcd-outcome-unknown"


class NoSpaceError(UnknownOutcomeError):
    """The space quota is reached, so etcd takes no more writes.

    Not a certain refusal: the write that crosses the quota is applied on the members and
    answered with the same words as those that are refused after it.
    """

    code = "etcd-no-space"


class EtcdUnavailableError(EtcdError):
    """No endpoint answered in time; nothing was to be written."""

    code = "etcd-unavailable"


class NothingWrittenError(EtcdError):
    """Refused for certain: nothing was written, and no copy of the request will write."""

    code = "etcd-refused"


class NotSentError(NothingWrittenError):
    """The request never left us: there was no token for it, or its batcher was closed."""

    code = "etcd-not-sent"


class CompactedError(NothingWrittenError):
    """The revision has been compacted away; ``facts`` has ``compact_revision`` if etcd told it."""

    code = "etcd-compacted"


class FutureRevisionError(NothingWrittenError):
    """The revision lies after the newest one: it is from another cluster, or from a lost one."""

    code = "etcd-future-revision"


class LeaseNotFoundError(NothingWrittenError):
    """There is no such lease: it has ended, and with it its keys."""

    code = "etcd-lease-not-found"


class LeaseExistsError(NothingWrittenError):
    """There is a lease of this id."""

    code = "etcd-lease-exists"


class TooLargeError(NothingWrittenError):
    """The request has more bytes than etcd accepts, 1.5 MiB by default."""

    code = "etcd-too-large"


class TooManyOperationsError(NothingWrittenError):
    """The transaction has more operations or comparisons than etcd accepts, 128 by default."""

    code = "etcd-too-many-operations"


class DuplicateKeyError(NothingWrittenError):
    """One transaction writes a key twice."""

    code = "etcd-duplicate-key"


class UnauthenticatedError(NothingWrittenError):
    """The user, the password or the token is not accepted."""

    code = "etcd-unauthenticated"


class PermissionDeniedError(NothingWrittenError):
    """The user may not do this."""

    code = "etcd-permission-denied"


class OverloadedError(NothingWrittenError):
    """Etcd has more requests than it can apply: wait, then try again."""

    code = "etcd-overloaded"


class ClusterCorruptError(NothingWrittenError):
    """Etcd found that its members hold different data and refuses everything."""

    code = "etcd-corrupt"


class FenceLostError(NothingWrittenError):
    """The condition that every write of a leader carries does not hold: somebody else leads."""

    code = "etcd-fence-lost"


class ForeignClusterError(NothingWrittenError):
    """What answers at the addresses is another cluster than the one that answered first.

    Either the addresses are not of one cluster, or the cluster was made anew. ``facts`` has both
    ids, ``found`` and ``known``, and the ``endpoint``.
    """

    code = "etcd-foreign-cluster"


class InvalidRequestError(NothingWrittenError):
    """Etcd does not accept the request as it is; ``facts`` has its ``code`` and ``details``."""

    code = "etcd-invalid-request"


class LeaseLostError(EtcdError):
    """Our lease is over: what depends on it must stop at once."""

    code = "etcd-lease-lost"
