"""How TensorFlow and GPflow are set up for asks. Nothing here may import them before it has run."""


def prepare() -> None:
    """Switch shape checking off and use one thread; call before gpflow or trieste is first imported.

    GPflow and Trieste check the shapes of every call from Python, which costs several times the arithmetic (measured:
    an ask took 6-10 s with the checks, 1.3-3 s without). The decorators look at the switch when a module is imported.
    One thread, because the order of a parallel sum changes its last bits, and an ask must be repeatable bit for bit.
    """
    from check_shapes import ShapeCheckingState, set_enable_check_shapes

    set_enable_check_shapes(ShapeCheckingState.DISABLED)

    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(-1)
    except RuntimeError:
        # TensorFlow is in use already: a notebook. It works there too, repeatable as far as its thread count allows.
        return
