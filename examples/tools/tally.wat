;; A tool as a module: executes tally.add {"of": TEXT}, and captures how many bytes that is.
(module
  (import "jos" "get" (func $get (param i32 i32) (result i32)))
  (import "jos" "fail" (func $fail (param i32 i32)))
  (import "jos" "result" (func $result (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/payload/of")
  (data (i32.const 16) "payload.of: found nothing, expected a text")
  (data (i32.const 64) "{\"bytes\":")
  (global $end (mut i32) (i32.const 73))

  (func $number (param $n i32)
    (local $tens i32)
    (local.set $tens (i32.div_u (local.get $n) (i32.const 10)))
    (if (local.get $tens) (then (call $number (local.get $tens))))
    (i32.store8 (global.get $end)
      (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  (func (export "validate") (result i32)
    (if (i32.lt_s (call $get (i32.const 0) (i32.const 11)) (i32.const 0))
      (then (call $fail (i32.const 16) (i32.const 42)) (return (i32.const 1))))
    (i32.const 0))

  (func (export "execute") (result i32)
    (call $number (call $get (i32.const 0) (i32.const 11)))
    (i32.store8 (global.get $end) (i32.const 125))
    (call $result (i32.const 64) (i32.sub (i32.add (global.get $end) (i32.const 1)) (i32.const 64)))
    (i32.const 0)))
